// BMP (Microsoft, "Bitmap Storage") as Pillow reads it: headers of 12 to 124 bytes, 1, 4 and 8 bits with a palette, 16
// to 32 bits by colour, run lengths. A palette that is a ramp of grays makes a gray picture. stb_image unpacks the
// rows: indices as grays, wide colours as whole bytes.
#include <algorithm>
#include <array>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

enum Compression : uint32_t { raw = 0, rle8 = 1, rle4 = 2, bitfields = 3 };
using Masks = std::array<uint32_t, 4>;  // red, green, blue, alpha

struct Header {
  uint32_t size = 0, width = 0, height = 0, bits = 0, compression = raw, colours = 0;
  bool top_down = false;
  Masks masks{};
  size_t pixels = 0;  // where they start
};

Header read_header(ByteReader& file, const std::string& name) {
  Header h;
  file.seek(10);
  h.pixels = file.u32(), h.size = file.u32();
  if (h.size == 12) {
    h.width = uint32_t(file.u16()), h.height = uint32_t(file.u16());
    h.bits = file.u32() >> 16;  // behind the number of planes
  } else if (h.size == 40 || h.size == 52 || h.size == 56 || h.size == 64 || h.size == 108 || h.size == 124) {
    h.width = file.u32(), h.height = file.u32();
    h.top_down = h.height >> 24 == 0xFF;
    if (h.top_down) h.height = -h.height;
    h.bits = file.u32() >> 16;
    h.compression = file.u32();
    file.take(12);  // size of the pixels, resolutions
    h.colours = file.u32();
    file.take(4);  // important colours
    const size_t masks = h.size >= 56 ? 4 : h.size > 40 || h.compression == bitfields ? 3 : 0;
    for (size_t i = 0; i < masks; ++i) h.masks[i] = file.u32();
    if (h.size > 40) file.seek(14 + h.size);
    if (file.position() < 14 + size_t(h.size))
      fail(Exit::data, name, ": the BMP is truncated: it ends within its header");
  } else {
    fail(Exit::data, name, ": a BMP header of ", h.size, " bytes; expected 12, 40, 52, 56, 64, 108 or 124");
  }
  if (h.colours == 0 && h.bits <= 16) h.colours = 1u << h.bits;
  if (h.bits <= 8 && h.pixels == 14 + size_t(h.size)) h.pixels += 4 * size_t(h.colours);  // some writers forget it
  return h;
}

// Sets mode and palette of a picture of 1, 4 or 8 bits.
void read_palette(ByteReader& file, const Header& h, const std::string& name, Picture& picture) {
  if (h.colours > 65536) fail(Exit::data, name, ": a BMP palette of ", h.colours, " colours");
  const size_t entry = h.size == 12 ? 3 : 4, wanted = entry * h.colours;
  const Bytes bytes = file.take(std::min(wanted, file.left()));
  bool ramp = bytes.size() == wanted;
  for (size_t i = 0; ramp && i < h.colours; ++i)
    for (size_t c = 0; c < 3; ++c) ramp &= bytes[i * entry + c] == uint8_t(h.colours == 2 ? 255 * i : i);
  picture.mode = !ramp ? Mode::palette : h.colours == 2 ? Mode::bilevel : Mode::gray;
  if (ramp && h.bits != (h.colours == 2 ? 1 : 8))  // Pillow misreads such rows
    fail(Exit::data, name, ": a BMP of ", h.bits, " bits with a ramp of ", h.colours, " grays; convert it to PNG");
  if (ramp) return;
  if (bytes.size() > 256 * entry) fail(Exit::data, name, ": a BMP palette of ", h.colours, " colours");
  picture.palette.assign(4 * 256, 0);
  for (size_t i = 0; i < bytes.size() / entry; ++i) {
    for (size_t c = 0; c < 3; ++c) picture.palette[4 * i + c] = bytes[i * entry + 2 - c];
    picture.palette[4 * i + 3] = 255;
  }
}

// Returns where the colours of 16 bits and more lie in a pixel; Pillow knows the same layouts.
Masks colour_masks(const Header& h, const std::string& name) {
  constexpr struct {
    uint32_t bits;
    Masks masks;
  } layouts[] = {{16, {0x7C00, 0x3E0, 0x1F}},
                 {16, {0xF800, 0x7E0, 0x1F}},
                 {24, {0xFF0000, 0xFF00, 0xFF}},
                 {32, {0xFF0000, 0xFF00, 0xFF}},
                 {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}},
                 {32, {0xFF000000, 0xFF0000, 0xFF00}},
                 {32, {0xFF000000, 0xFF00, 0xFF}},
                 {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}},
                 {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}},
                 {32, {0xFF000000, 0xFF00, 0xFF, 0xFF0000}}};
  Masks masks = h.masks;
  if (h.bits < 32) masks[3] = 0;
  if (h.bits == 32 && masks == Masks{} && h.compression == bitfields) return layouts[4].masks;
  for (const auto& layout : layouts)
    if (layout.bits == h.bits && (h.compression == raw || layout.masks == masks)) return layout.masks;
  fail(Exit::data, name, ": a BMP of ", h.bits, " bits with colour masks that are not known; convert it to PNG");
}

// Returns a new BMP header, with a palette of grays from 0 in steps of `step`.
std::string header_for_stb(const Header& h, const Masks& masks, uint32_t step) {
  std::string bytes = "BM";
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes += char(value >> 8 * i);
  };
  constexpr uint32_t size = 108, begin = 14 + size;
  const uint32_t grays = h.bits <= 8 ? 1u << h.bits : 0;
  for (const uint32_t value :
       {0u, 0u, begin + 4 * grays, size, h.width, h.top_down ? -h.height : h.height, 1 | h.bits << 16,
        h.bits == 16 || h.bits == 32 ? 3u : 0u, 0u, 0u, 0u, 0u, 0u, masks[0], masks[1], masks[2], masks[3]})
    put(value);
  bytes.resize(begin);
  for (uint32_t i = 0; i < grays; ++i) put(i * step * 0x010101);
  return bytes;
}

// Runs and stretches of indices, from the bottom row up. A run ends with its row, a stretch may go on in the next.
void read_runs(ByteReader& file, const Header& h, Picture& picture) {
  const bool halves = h.compression == rle4;
  const size_t width = h.width, total = width * h.height;
  std::vector<uint8_t>& pixels = picture.samples.pixels;  // rows in the file's order until the end
  size_t at = 0, x = 0;
  const auto put = [&](int index) {
    if (at < total) pixels[at++] = uint8_t(index);
  };
  while (at < total) {
    const int count = file.u8(), value = file.u8();
    if (count > 0) {
      const size_t run = std::min(size_t(count), width - std::min(x, width));
      for (size_t i = 0; i < run; ++i) put(!halves ? value : i % 2 ? value & 15 : value >> 4);
      x += run;
    } else if (value == 0) {
      at = (at + width - 1) / width * width, x = 0;
    } else if (value == 1) {
      break;
    } else if (value == 2) {
      const size_t right = size_t(file.u8()), up = size_t(file.u8());
      at = std::min(total, at + right + up * width), x = at % width;
    } else {
      for (const uint8_t byte : file.take(size_t(halves ? value / 2 : value))) {
        if (halves) put(byte >> 4);
        put(halves ? byte & 15 : byte);
      }
      x += size_t(value);
      if (file.position() % 2) file.seek(file.position() + 1);
    }
  }
  if (at < total) file.take(file.left() + 1);  // ended too early
  if (!h.top_down) picture = turned(std::move(picture), 4);
}

}  // namespace

Picture decode_bmp(Bytes bytes, const std::string& name) {
  ByteReader file(bytes, name);
  const Header h = read_header(file, name);
  const bool runs = h.compression == rle8 || h.compression == rle4, indexed = h.bits == 1 || h.bits == 4 || h.bits == 8;
  if (!indexed && h.bits != 16 && h.bits != 24 && h.bits != 32)
    fail(Exit::data, name, ": a BMP of ", h.bits, " bits a pixel; expected 1, 4, 8, 16, 24 or 32");
  if (h.compression > bitfields || (indexed && h.compression == bitfields) || (!indexed && runs))
    fail(Exit::data, name, ": a BMP of ", h.bits, " bits with compression ", h.compression,
         ", which do not go together");
  check_size(h.width, h.height, name);
  const size_t used = (size_t(h.width) * h.bits + 7) / 8, needed = (used + 3) / 4 * 4 * (h.height - 1) + used;
  if (!runs && needed > bytes.size())
    fail(Exit::data, name, ": ", bytes.size(), " bytes, ", h.width, "x", h.height,
         " pixels need more; the BMP is truncated");

  Picture picture;
  Masks masks{};
  if (indexed) read_palette(file, h, name, picture);
  else masks = colour_masks(h, name);
  if (runs && picture.mode == Mode::bilevel) fail(Exit::data, name, ": a BMP of black and white in run lengths");
  const bool alpha = masks[3] != 0;
  if (alpha) picture.mode = Mode::rgba;
  file.seek(h.pixels ? h.pixels : file.position());
  if (runs) {
    picture.samples = Image(int(h.width), int(h.height), 1);
    read_runs(file, h, picture);
    return picture;
  }
  const int channels = indexed ? 1 : alpha ? 4 : 3;
  const std::string header = header_for_stb(h, masks, picture.mode == Mode::bilevel ? 255 : 1);
  picture.samples = decode_with_stb(header, file.take(needed), channels);  // the last row needs no padding
  std::vector<uint8_t>& samples = picture.samples.pixels;
  if (h.bits == 16)  // v of n levels is floor(255 v / (n - 1)) in Pillow; stb repeats the upper bits
    for (size_t i = 0; i < samples.size(); ++i) {
      const int levels = i % 3 == 1 && masks[0] == 0xF800 ? 64 : 32;
      samples[i] = uint8_t(samples[i] * levels / 256 * 255 / (levels - 1));
    }
  return picture;
}

}  // namespace vlm2vec
