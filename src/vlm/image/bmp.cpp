// BMP (Microsoft, "Bitmap Storage"): headers of 12 to 124 bytes, 1, 4 and 8 bits with a palette, 16 to 32 bits by
// colour, run lengths; in Pillow's reading, which takes a palette that is a ramp of grays for a gray picture.
#include <array>
#include <bit>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

enum Compression : uint32_t { raw = 0, rle8 = 1, rle4 = 2, bitfields = 3 };

struct Header {
  uint32_t size = 0, width = 0, height = 0, compression = raw, colours = 0;
  int bits = 0, palette_entry = 4;  // bytes
  bool top_down = false;
  std::array<uint32_t, 4> masks{};  // red, green, blue, alpha
  size_t pixels = 0;                // where they start
};

Header read_header(ByteReader& file, const std::string& name) {
  Header h;
  file.seek(10);
  h.pixels = file.u32();
  h.size = file.u32();
  if (h.size == 12) {
    h.width = uint32_t(file.u16()), h.height = uint32_t(file.u16());
    file.u16();  // planes
    h.bits = file.u16();
    h.palette_entry = 3;
  } else if (h.size == 40 || h.size == 52 || h.size == 56 || h.size == 64 || h.size == 108 || h.size == 124) {
    h.width = file.u32(), h.height = file.u32();
    h.top_down = h.height >> 24 == 0xFF;
    if (h.top_down) h.height = -h.height;
    file.u16();
    h.bits = file.u16();
    h.compression = file.u32();
    file.take(12);  // size of the pixels, resolutions
    h.colours = file.u32();
    file.take(4);  // important colours
    const int masks = h.size >= 56 ? 4 : h.size > 40 || h.compression == bitfields ? 3 : 0;
    for (int i = 0; i < masks; ++i) h.masks[size_t(i)] = file.u32();
    if (h.size > 40) file.seek(14 + h.size);
    if (file.position() < 14 + size_t(h.size)) fail(Exit::data, name, ": ends within the BMP header; it is cut");
  } else {
    fail(Exit::data, name, ": a BMP header of ", h.size, " bytes; expected 12, 40, 52, 56, 64, 108 or 124");
  }
  if (h.colours == 0 && h.bits <= 16) h.colours = 1u << h.bits;
  if (h.bits <= 8 && h.pixels == 14 + size_t(h.size)) h.pixels += 4 * size_t(h.colours);  // some writers forget it
  return h;
}

// Sets mode and palette of a picture of 1, 4 or 8 bits; returns the bits that a sample has by Pillow's rules.
int read_palette(ByteReader& file, const Header& h, const std::string& name, Picture& picture) {
  if (h.colours > 65536) fail(Exit::data, name, ": a BMP palette of ", h.colours, " colours");
  const size_t entry = size_t(h.palette_entry), wanted = entry * h.colours;
  const Bytes bytes = file.take(std::min(wanted, file.left()));
  bool ramp = bytes.size() == wanted;
  for (size_t i = 0; ramp && i < h.colours; ++i)
    for (size_t c = 0; c < 3; ++c) ramp &= bytes[i * entry + c] == uint8_t(h.colours == 2 ? 255 * i : i);
  if (ramp) {
    picture.mode = h.colours == 2 ? Mode::bilevel : Mode::gray;
    return h.colours == 2 ? 1 : 8;
  }
  if (bytes.size() > 256 * entry) fail(Exit::data, name, ": a BMP palette of ", h.colours, " colours");
  picture.mode = Mode::palette;
  picture.palette.assign(4 * 256, 0);
  for (size_t i = 0; i < bytes.size() / entry; ++i) {
    for (size_t c = 0; c < 3; ++c) picture.palette[4 * i + c] = bytes[i * entry + 2 - c];
    picture.palette[4 * i + 3] = 255;
  }
  return h.bits;
}

// Rows of packed samples, most significant bits first, padded to multiples of four bytes.
void read_packed(ByteReader& file, const Header& h, int bits, const std::string& name, Picture& picture) {
  const size_t width = h.width, stride = (width * size_t(h.bits) + 31) / 32 * 4, used = (width * size_t(bits) + 7) / 8;
  if (used > stride) fail(Exit::data, name, ": a BMP of ", h.bits, " bits with the palette of one of ", bits);
  const int mask = (1 << bits) - 1;
  for (uint32_t i = 0; i < h.height; ++i) {
    const Bytes row = file.take(i + 1 < h.height ? stride : used);  // the last one needs no padding
    uint8_t* to = picture.samples.at(int(h.top_down ? i : h.height - 1 - i), 0);
    for (size_t x = 0; x < width; ++x) {
      const size_t bit = x * size_t(bits);
      const int sample = row[bit / 8] >> (8 - bits - int(bit % 8)) & mask;
      to[x] = uint8_t(picture.mode == Mode::bilevel ? 255 * sample : sample);
    }
  }
}

// Which byte of a pixel holds red, green, blue and alpha; -1: none does.
std::array<int, 4> byte_order(const Header& h, const std::string& name) {
  constexpr std::array<int, 4> bgr = {2, 1, 0, -1};
  if (h.bits == 24 || h.compression == raw) {
    const bool usual = h.masks[0] == 0xFF0000 && h.masks[1] == 0xFF00 && h.masks[2] == 0xFF;
    if (h.compression == raw || usual) return bgr;
  } else if (h.masks == std::array<uint32_t, 4>{}) {
    return {2, 1, 0, 3};
  } else {
    std::array<int, 4> order{};
    uint32_t together = 0;
    bool whole_bytes = true;
    for (size_t i = 0; i < 4; ++i) {
      const uint32_t mask = h.masks[i];
      order[i] = mask ? std::countr_zero(mask) / 8 : -1;
      whole_bytes &= mask ? mask == 0xFFu << 8 * order[i] && !(together & mask) : i == 3;
      together |= mask;
    }
    if (whole_bytes) return order;
  }
  fail(Exit::data, name, ": a BMP of ", h.bits, " bits with colour masks that are not whole bytes in a known order");
}

void read_bytes_of_colour(ByteReader& file, const Header& h, const std::string& name, Picture& picture) {
  const std::array<int, 4> order = byte_order(h, name);
  const size_t bytes = size_t(h.bits) / 8, width = h.width, stride = (width * bytes + 3) / 4 * 4;
  const int channels = picture.samples.channels;
  for (uint32_t i = 0; i < h.height; ++i) {
    const Bytes row = file.take(i + 1 < h.height ? stride : width * bytes);
    uint8_t* to = picture.samples.at(int(h.top_down ? i : h.height - 1 - i), 0);
    for (size_t x = 0; x < width; ++x, to += channels)
      for (int c = 0; c < channels; ++c) to[c] = row[x * bytes + size_t(order[size_t(c)])];
  }
}

// 5 bits a colour, or 5, 6 and 5; v of n levels becomes floor(255 v / (n - 1)).
void read_words_of_colour(ByteReader& file, const Header& h, const std::string& name, Picture& picture) {
  const bool six = h.compression == bitfields && h.masks[0] == 0xF800 && h.masks[1] == 0x7E0 && h.masks[2] == 0x1F;
  const bool five = h.compression == raw || (h.masks[0] == 0x7C00 && h.masks[1] == 0x3E0 && h.masks[2] == 0x1F);
  if (!six && !five) fail(Exit::data, name, ": a BMP of 16 bits with other colour masks than 5-5-5 and 5-6-5");
  const size_t width = h.width, stride = (2 * width + 3) / 4 * 4;
  for (uint32_t i = 0; i < h.height; ++i) {
    const Bytes row = file.take(i + 1 < h.height ? stride : 2 * width);
    uint8_t* to = picture.samples.at(int(h.top_down ? i : h.height - 1 - i), 0);
    for (size_t x = 0; x < width; ++x, to += 3) {
      const int word = row[2 * x] | row[2 * x + 1] << 8;
      to[0] = uint8_t((word >> (six ? 11 : 10) & 31) * 255 / 31);
      to[1] = uint8_t(six ? (word >> 5 & 63) * 255 / 63 : (word >> 5 & 31) * 255 / 31);
      to[2] = uint8_t((word & 31) * 255 / 31);
    }
  }
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
      const Bytes stretch = file.take(size_t(halves ? value / 2 : value));
      for (const uint8_t byte : stretch) {
        if (halves) put(byte >> 4);
        put(halves ? byte & 15 : byte);
      }
      x += size_t(value);
      if (file.position() % 2) file.seek(file.position() + 1);
    }
  }
  if (at < total) file.take(file.left() + 1);  // ended too early
  if (h.top_down) return;
  for (size_t top = 0, bottom = total - width; top < bottom; top += width, bottom -= width)
    std::swap_ranges(&pixels[top], &pixels[top] + width, &pixels[bottom]);
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
  const uint64_t needed = (uint64_t(h.width) * uint64_t(h.bits) + 7) / 8 * h.height;
  if (!runs && needed > bytes.size())
    fail(Exit::data, name, ": ", bytes.size(), " bytes, ", h.width, "x", h.height, " pixels need more; the BMP is cut");

  Picture picture;
  if (!indexed) {
    const bool alpha = h.bits == 32 && h.compression == bitfields && byte_order(h, name)[3] >= 0;
    picture.mode = alpha ? Mode::rgba : Mode::rgb;
    picture.samples = Image(int(h.width), int(h.height), alpha ? 4 : 3);
    file.seek(h.pixels ? h.pixels : file.position());
    (h.bits == 16 ? read_words_of_colour : read_bytes_of_colour)(file, h, name, picture);
    return picture;
  }
  const int bits = read_palette(file, h, name, picture);
  if (runs && picture.mode == Mode::bilevel) fail(Exit::data, name, ": a BMP of black and white in run lengths");
  picture.samples = Image(int(h.width), int(h.height), 1);
  file.seek(h.pixels ? h.pixels : file.position());
  if (runs) read_runs(file, h, picture);
  else read_packed(file, h, bits, name, picture);
  return picture;
}

}  // namespace vlm2vec
