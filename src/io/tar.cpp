#include "io/tar.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "io/error.h"

namespace vlm2vec {
namespace {

using TarBytes = std::span<const uint8_t>;
constexpr uint64_t kBlock = 512, kLongestRecords = 1 << 20;

// Fields of the next member that headers of type L, K and x announce.
struct Announced {
  std::optional<std::string> name, link;
  std::optional<uint64_t> size;
};

// Returns the text up to the first zero byte.
std::string text_of(TarBytes field) { return {field.begin(), std::find(field.begin(), field.end(), 0)}; }

// Reads octal digits between blanks; or, if the highest bit is set, a big-endian number behind it (GNU).
std::optional<uint64_t> number_of(TarBytes field) {
  uint64_t value = 0;
  if (field[0] & 0x80) {
    if (field[0] != 0x80) return {};
    for (const uint8_t byte : field.subspan(1)) {
      if (value >> 55) return {};
      value = value << 8 | byte;
    }
    return value;
  }
  std::string digits = text_of(field);
  digits.erase(0, digits.find_first_not_of(' '));
  digits.erase(digits.find_last_not_of(' ') + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  const bool whole = end == digits.data() + digits.size() && (error == std::errc() || digits.empty());
  return whole ? std::optional(value) : std::nullopt;
}

// Checks the sum of a header's bytes, with blanks in the place of the sum itself.
bool sum_is_right(TarBytes header) {
  uint64_t sum = 8 * ' ';
  for (size_t i = 0; i < kBlock; ++i)
    if (i < 148 || i >= 156) sum += header[i];
  return number_of(header.subspan(148, 8)) == sum;
}

// Reads pax records, "LENGTH key=value\n", LENGTH counting all of it. Returns false if they are damaged.
bool read_records(TarBytes data, Announced& announced) {
  std::string_view text = as_text(data);
  while (!text.empty()) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const size_t begin = size_t(end - text.data()) + 1;
    if (error != std::errc() || length > text.size() || length <= begin || text[length - 1] != '\n') return false;
    const std::string_view record = text.substr(begin, length - begin - 1);
    const size_t equals = record.find('=');
    if (text[begin - 1] != ' ' || equals == record.npos) return false;
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") announced.name = value;
    if (key == "linkpath") announced.link = value;
    if (key == "size") {
      uint64_t size = 0;
      const auto [last, bad] = std::from_chars(value.data(), value.data() + value.size(), size);
      if (bad != std::errc() || last != value.data() + value.size()) return false;
      announced.size = size;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::string name_of_header(TarBytes header) {
  const std::string name = text_of(header.first(100)), prefix = text_of(header.subspan(345, 155));
  const bool posix = std::memcmp(header.data() + 257, "ustar", 6) == 0;  // GNU uses these bytes otherwise
  return posix && !prefix.empty() ? prefix + "/" + name : name;
}

}  // namespace

std::string member_name(std::string name) {
  while (name.starts_with("./")) name.erase(0, 2);
  return name;
}

ArchiveIndex index_tar(TarBytes bytes, const std::string& file) {
  ArchiveIndex index;
  Announced announced;
  for (uint64_t at = 0;;) {
    if (at > bytes.size() || bytes.size() - at < kBlock)
      fail(Exit::data, file, ": ends without the empty block that ends a tar file; is the download complete?");
    const TarBytes header = bytes.subspan(at, kBlock);
    if (std::all_of(header.begin(), header.end(), [](uint8_t byte) { return byte == 0; })) return index;
    const auto damaged = [&](const char* what) {
      fail(Exit::data, file, ": ", what, " in the header at byte ", at, "; it is damaged or not a tar file");
    };
    if (!sum_is_right(header)) damaged("wrong check sum");
    const char type = char(header[156]);
    const bool announces = type == 'L' || type == 'K' || type == 'x' || type == 'g';
    std::optional<uint64_t> size = number_of(header.subspan(124, 12));
    if (!announces && announced.size) size = announced.size;
    if (!size) damaged("no size");
    if (type >= '1' && type <= '6') size = 0;  // links, devices and folders have no bytes, whatever they claim
    if (*size > bytes.size() - at - kBlock) damaged("a size beyond the end of the file");
    if (announces && *size > kLongestRecords) damaged("a name of more than 1 MiB");
    const TarBytes data = bytes.subspan(at + kBlock, *size);
    if (type == 'L') announced.name = text_of(data);
    if (type == 'K') announced.link = text_of(data);
    if (type == 'x' && !read_records(data, announced)) damaged("damaged records");
    const std::string name = member_name(announced.name ? *announced.name : name_of_header(header));
    if (type == 'S') fail(Exit::data, file, ": holds the sparse file ", name, ", which is not read here; unpack it");
    if (type == '0' || type == 0 || type == '7') {
      if (!is_junk(name) && !name.ends_with('/')) index[name] = {at + kBlock, *size};
    } else if (type == '1') {  // another name of an earlier member
      const auto target = index.find(member_name(announced.link ? *announced.link : text_of(header.subspan(157, 100))));
      if (target != index.end() && !is_junk(name)) index[name] = ArchiveMember(target->second);
    }
    if (!announces) announced = {};
    at += kBlock + (*size + kBlock - 1) / kBlock * kBlock;
  }
}

}  // namespace vlm2vec
