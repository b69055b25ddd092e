// PBM, PGM and PPM, plain and binary (Netpbm formats), as Pillow reads them. Samples of 0 to maxval are scaled to 0 to
// 255, gray ones of more than 255 levels to 0 to 65535, rounded half to even. stb_image reads binary ones up to 255.
#include <algorithm>
#include <cmath>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

constexpr size_t longest_number = 10;  // digits

bool is_space(int c) { return c == ' ' || ('\t' <= c && c <= '\r'); }

// Reads numbers as text. A comment, from # through the end of its line, may stand within a number.
class PlainReader {
 public:
  PlainReader(ByteReader& file, const std::string& name) : file_(file), name_(name) {}
  // The next character that is not in a comment; -1 at the end.
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
    if (c < 0) fail(Exit::data, name_, ": the PNM is truncated: it ends within its numbers");
    return c;
  }
  uint32_t number(uint32_t most) {
    std::string digits;
    int c = next_that_is_no_space();
    for (; c >= 0 && !is_space(c) && digits.size() <= longest_number; c = next())
      digits += c < ' ' || c > '~' ? '?' : char(c);
    if (digits.size() > longest_number || digits.find_first_not_of("0123456789") != digits.npos ||
        std::stoull(digits) > most)
      fail(Exit::data, name_, ": damaged PNM: \"", digits, "\", expected a number up to ", most);
    return uint32_t(std::stoull(digits));
  }
  bool bit() {
    const int c = next_that_is_no_space();
    if (c != '0' && c != '1') fail(Exit::data, name_, ": damaged PBM: a character that is neither 0 nor 1");
    return c == '1';
  }

 private:
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
  const bool plain = kind <= 3, bits = kind % 3 == 1, colour = kind % 3 == 0;
  ByteReader file(bytes, name);
  file.seek(2);
  PlainReader text(file, name);
  const uint32_t width = text.number(~0u), height = text.number(~0u);
  check_size(width, height, name);
  const uint32_t maxval = bits ? 1 : text.number(65535);
  if (maxval == 0) fail(Exit::data, name, ": a PNM of samples up to 0; expected 1 to 65535");
  const bool wide = maxval > 255 && !colour;
  const size_t row = size_t(width) * (colour ? 3 : 1), values = row * height,
               row_bytes = bits           ? (row + 7) / 8
                           : maxval < 256 ? row
                                          : 2 * row;
  // Plain numbers have at least one digit and a space between them; bits need no space.
  if ((plain ? bits ? values : 2 * values - 1 : row_bytes * height) > file.left())
    fail(Exit::data, name, ": ", file.left(), " bytes for ", width, "x", height, " pixels; the PNM is truncated");

  Picture picture;
  picture.mode = bits ? Mode::bilevel : colour ? Mode::rgb : wide ? Mode::gray32 : Mode::gray;
  const Bytes binary = plain ? Bytes() : file.take(row_bytes * height);
  if (!plain && maxval == 255) {
    picture.samples = decode_with_stb(sentence('P', kind, ' ', width, ' ', height, " 255\n"), binary, colour ? 3 : 1);
    return picture;
  }
  picture.samples = Image(int(width), int(height), wide ? 0 : colour ? 3 : 1);
  if (wide) picture.wide.resize(values);
  for (size_t i = 0; i < values; ++i) {
    if (bits) {
      const bool black = plain ? text.bit() : binary[i / row * row_bytes + i % row / 8] >> (7 - i % row % 8) & 1;
      picture.samples.pixels[i] = black ? 0 : 255;
      continue;
    }
    const uint32_t value = plain          ? text.number(maxval)
                           : maxval < 256 ? binary[i]
                                          : uint32_t(binary[2 * i] << 8 | binary[2 * i + 1]);
    if (wide) picture.wide[i] = scaled(value, maxval, 65535);
    else picture.samples.pixels[i] = uint8_t(scaled(value, maxval, 255));
  }
  return picture;
}

}  // namespace vlm2vec
