#include "io/parquet/logical.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "io/text.h"

namespace vlm2vec::parquet {
namespace {

constexpr int64_t kSecondsOfDay = 86400, kJulianDayOf1970 = 2440588;

// `days` since 1970-01-01 in the Gregorian calendar, also before its time; algorithm of Howard Hinnant,
// "chrono-compatible low-level date algorithms" (2013): years begin in March, eras have 400.
std::string date_text(int64_t days) {
  days += 719468;  // since 0000-03-01
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const int64_t day_of_era = days - era * 146097;
  const int64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100), part = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * part + 2) / 5 + 1, month = part < 10 ? part + 3 : part - 9;
  return formatted("%04lld-%02lld-%02lld", (long long)(era * 400 + year + (month <= 2)), (long long)month,
                   (long long)day);
}

int64_t power_of_ten(int digits) { return digits == 0 ? 1 : 10 * power_of_ten(digits - 1); }

// `units` of 10^-digits seconds since midnight.
std::string time_text(int64_t units, int digits) {
  const int64_t second = power_of_ten(digits), seconds = units / second;
  return formatted("%02lld:%02lld:%02lld.%0*lld", (long long)(seconds / 3600), (long long)(seconds / 60 % 60),
                   (long long)(seconds % 60), digits, (long long)(units % second));
}

std::string timestamp_text(int64_t units, int digits) {
  const int64_t day = kSecondsOfDay * power_of_ten(digits);
  const int64_t days = units / day - (units % day < 0);
  return date_text(days) + "T" + time_text(units - days * day, digits);
}

// `bytes`: two's complement, the high byte first; `digits` of the number are after the point.
std::string decimal_text(std::string bytes, int digits) {
  const bool negative = !bytes.empty() && (bytes[0] & 0x80);
  if (negative) {  // its absolute value: the complement and one
    unsigned carry = 1;
    for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte)
      carry += uint8_t(~*byte), *byte = char(carry), carry >>= 8;
  }
  std::string reversed;
  for (size_t first = 0; first < bytes.size();) {  // divide by ten until nothing is left
    unsigned rest = 0;
    for (size_t i = first; i < bytes.size(); ++i)
      rest = rest << 8 | uint8_t(bytes[i]), bytes[i] = char(rest / 10), rest %= 10;
    reversed += char('0' + rest);
    while (first < bytes.size() && bytes[first] == 0) ++first;
  }
  while (reversed.size() > 1 && reversed.back() == '0') reversed.pop_back();
  while (int(reversed.size()) <= digits) reversed += '0';
  std::reverse(reversed.begin(), reversed.end());
  if (digits > 0) reversed.insert(reversed.size() - size_t(digits), ".");
  return (negative ? "-" : "") + reversed;
}

uint64_t low_first(std::string_view bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min<size_t>(bytes.size(), 8));
  return value;
}

std::string hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += formatted("%02x", unsigned(uint8_t(byte)));
  return text;
}

// Months, days and milliseconds, four bytes each.
std::string interval_text(std::string_view bytes) {
  const auto part = [&](size_t at) { return uint32_t(low_first(bytes.substr(at, 4))); };
  return formatted("P%uM%uDT%u.%03uS", part(0), part(4), part(8) / 1000, part(8) % 1000);
}

// Nanoseconds of the day in eight bytes, then the Julian day's number.
std::string timestamp96_text(std::string_view bytes) {
  const int64_t days = int32_t(low_first(bytes.substr(8))) - kJulianDayOf1970;
  const int64_t nanoseconds = int64_t(low_first(bytes)), day = kSecondsOfDay * power_of_ten(9);
  const int64_t more = nanoseconds / day - (nanoseconds % day < 0);
  return date_text(days + more) + "T" + time_text(nanoseconds - more * day, 9);
}

std::string big_endian(uint64_t bits, size_t width) {
  std::string bytes;
  for (size_t i = width; i-- > 0;) bytes += char(bits >> (8 * i));
  return bytes;
}

}  // namespace

bool has_bytes(Physical type) {
  return type == Physical::bytes || type == Physical::fixed_bytes || type == Physical::int96;
}

nlohmann::ordered_json number_value(const Leaf& leaf, uint64_t bits) {
  using Kind = Leaf::Kind;
  const Meaning& meaning = leaf.meaning;
  const int64_t value = leaf.width == 4 ? int32_t(bits) : int64_t(bits);
  switch (leaf.kind) {
    case Kind::boolean:
      return (bits & 1) != 0;
    case Kind::uint32:
      return uint32_t(bits);
    case Kind::uint64:
      return bits;
    case Kind::float32:
      return std::bit_cast<float>(uint32_t(bits));
    case Kind::float64:
      return std::bit_cast<double>(bits);
    case Kind::date:
      return date_text(value);
    case Kind::time:
      if (value < 0) fail(Exit::data, "a time of day is ", value, ", expected 0 or more");
      return time_text(value, meaning.digits);
    case Kind::timestamp:
      return timestamp_text(value, meaning.digits) + (meaning.utc ? "Z" : "");
    case Kind::decimal:
      return decimal_text(big_endian(bits, leaf.width), meaning.digits);
    default:
      return value;
  }
}

nlohmann::ordered_json bytes_value(const Leaf& leaf, std::string_view bytes) {
  using Kind = Leaf::Kind;
  switch (leaf.kind) {
    case Kind::decimal:
      if (bytes.size() > 1024) fail(Exit::data, "a decimal has ", bytes.size(), " bytes, expected at most 1024");
      return decimal_text(std::string(bytes), leaf.meaning.digits);
    case Kind::float16:
      return float(std::bit_cast<_Float16>(uint16_t(low_first(bytes))));
    case Kind::interval:
      return interval_text(bytes);
    case Kind::timestamp96:
      return timestamp96_text(bytes);
    default: {  // a UUID
      const std::string hex = hexadecimal(bytes);
      return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
             hex.substr(20);
    }
  }
}

}  // namespace vlm2vec::parquet
