// PBM, PGM and PPM, plain and binary (Netpbm formats), in Pillow's reading: samples of 0 to maxval are scaled to 0 to
// 255, gray ones of more than 255 levels to 0 to 65535, rounded half to even.
#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

constexpr size_t longest_number = 10;  // digits

bool is_space(int c) { return c == ' ' || ('\t' <= c && c <= '\r'); }

// Numbers as text. A comment reaches from # to the end of its line, which it swallows; the number around it goes on.
class PlainReader {
 public:
  PlainReader(ByteReader& file, const std::string& name) : file_(file), name_(name) {}
  // The next character that is no comment; -1 at the end.
  int next() {
    while (file_.left() > 0) {
      const int c = file_.u8();
      if (c != '#') return c;
      for (int skipped = c; file_.left() > 0 && skipped != '\n' && skipped != '\r';) skipped = file_.u8();
    }
    return -1;
  }
  int next_that_is_no_space() {
    int c = next();
    while (is_space(c)) c = next();
    if (c < 0) fail(Exit::data, name_, ": the PNM ends within its numbers; it is cut");
    return c;
  }
  uint32_t number(uint32_t most) {
    std::string digits;
    int c = next_that_is_no_space();
    for (; c >= 0 && !is_space(c) && digits.size() <= longest_number; c = next()) digits += char(c);
    const bool number = digits.size() <= longest_number &&
                        std::all_of(digits.begin(), digits.end(), [](char d) { return '0' <= d && d <= '9'; });
    if (!number || std::stoull(digits) > most)
      fail(Exit::data, name_, ": damaged PNM: \"", printable(digits), "\", expected a number up to ", most);
    return uint32_t(std::stoull(digits));
  }

 private:
  static std::string printable(std::string text) {
    for (char& c : text)
      if (c < ' ' || c > '~') c = '?';
    return text;
  }
  ByteReader& file_;
  const std::string& name_;
};

int scaled(uint32_t value, uint32_t maxval, int levels) {
  if (maxval == uint32_t(levels)) return int(value);
  return std::min(levels, int(std::nearbyint(double(value) / maxval * levels)));
}

}  // namespace

Picture decode_pnm(Bytes bytes, const std::string& name) {
  const int kind = bytes[1] - '0';  // 1 to 3: plain bits, gray, RGB; 4 to 6: the same in binary
  const bool plain = kind <= 3;
  ByteReader file(bytes, name);
  file.seek(2);
  if (!is_space(file.u8())) fail(Exit::data, name, ": is no picture of a known format");
  PlainReader text(file, name);
  const uint32_t width = text.number(~0u), height = text.number(~0u);
  check_size(width, height, name);
  const bool bits = kind % 3 == 1;
  const uint32_t maxval = bits ? 1 : text.number(65535);
  if (maxval == 0) fail(Exit::data, name, ": a PNM of samples up to 0; expected 1 to 65535");
  const uint64_t values = uint64_t(width) * height * (kind % 3 == 0 ? 3 : 1);
  const uint64_t row_bytes =
      bits ? (width + 7) / 8 : uint64_t(width) * (kind % 3 == 0 ? 3 : 1) * (maxval < 256 ? 1 : 2);
  // Plain numbers have at least one digit and a space between them, bits may be without.
  if ((plain ? bits ? values : 2 * values - 1 : row_bytes * height) > file.left())
    fail(Exit::data, name, ": ", file.left(), " bytes for ", width, "x", height, " pixels; the PNM is cut");

  Picture picture;
  picture.mode = bits ? Mode::bilevel : kind % 3 == 0 ? Mode::rgb : maxval > 255 ? Mode::gray32 : Mode::gray;
  picture.samples = Image(int(width), int(height), 0);
  if (picture.mode == Mode::gray32) picture.wide.resize(values);
  else picture.samples = Image(int(width), int(height), picture.mode == Mode::rgb ? 3 : 1);
  std::vector<uint8_t>& samples = picture.samples.pixels;

  if (bits) {
    for (uint32_t y = 0; y < height; ++y) {
      const Bytes row = plain ? Bytes() : file.take(row_bytes);
      for (uint32_t x = 0; x < width; ++x) {
        int bit = 0;
        if (plain) {
          bit = text.next_that_is_no_space() - '0';
          if (bit != 0 && bit != 1) fail(Exit::data, name, ": damaged PBM: a character that is neither 0 nor 1");
        } else {
          bit = row[x / 8] >> (7 - x % 8) & 1;
        }
        samples[size_t(y) * width + x] = bit ? 0 : 255;
      }
    }
    return picture;
  }
  const bool wide = picture.mode == Mode::gray32;
  const Bytes binary = plain ? Bytes() : file.take(row_bytes * height);
  for (uint64_t i = 0; i < values; ++i) {
    const uint32_t value = plain          ? text.number(maxval)
                           : maxval < 256 ? binary[i]
                                          : uint32_t(binary[2 * i] << 8 | binary[2 * i + 1]);
    if (wide) picture.wide[i] = scaled(value, maxval, 65535);
    else samples[i] = uint8_t(scaled(value, maxval, 255));
  }
  return picture;
}

}  // namespace vlm2vec
