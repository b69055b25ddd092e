// TGA (Truevision, version 2.0) as Pillow reads it: 8 bits of gray or with a palette, 16 bits of gray and alpha, 16, 24
// and 32 bits of colour, in runs or not. stb_image unpacks them; indices and words as grays.
#include <algorithm>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

constexpr int in_runs = 8, right_to_left = 0x10, top_down = 0x20;

struct Header {
  int id, map, type, map_first, map_length, map_bits, width, height, bits, flags;
};

Header read_header(ByteReader& file) {
  Header h{};
  h.id = file.u8(), h.map = file.u8(), h.type = file.u8();
  h.map_first = file.u16(), h.map_length = file.u16(), h.map_bits = file.u8();
  file.take(4);  // where it belongs on a screen
  h.width = file.u16(), h.height = file.u16(), h.bits = file.u8(), h.flags = file.u8();
  return h;
}

// 5 bits a colour; a set highest bit is transparent.
void unpack_word(int word, uint8_t* rgba) {
  for (int c = 0; c < 3; ++c) rgba[c] = uint8_t((word >> (10 - 5 * c) & 31) * 255 / 31);
  rgba[3] = word & 0x8000 ? 0 : 255;
}

void read_palette(ByteReader& file, const Header& h, const std::string& name, Picture& picture) {
  const int bytes = h.map_bits / 8;
  const Bytes entries = file.take(size_t(h.map_length) * size_t(bytes));
  if (h.map_first + h.map_length > 256) fail(Exit::data, name, ": a TGA palette of more than 256 colours");
  picture.palette.assign(4 * 256, 0);
  for (int i = 0; i < h.map_length; ++i) {
    const uint8_t* from = &entries[size_t(i * bytes)];
    uint8_t* to = &picture.palette[size_t(4 * (h.map_first + i))];
    if (bytes == 2) unpack_word(from[0] | from[1] << 8, to);
    else to[0] = from[2], to[1] = from[1], to[2] = from[0], to[3] = 255;
  }
}

// Returns how many bytes of runs and stretches make up the picture. As in Pillow, a run must end with its row.
size_t length_of_runs(Bytes bytes, const Header& h, const std::string& name) {
  ByteReader file(bytes, name);
  const size_t width = size_t(h.width), total = width * size_t(h.height), pixel = size_t(h.bits) / 8;
  for (size_t at = 0; at < total;) {
    const int packet = file.u8();
    const size_t count = size_t(packet & 127) + 1;
    const bool run = packet & 128;
    if (run && at % width + count > width) fail(Exit::data, name, ": damaged TGA: a run is longer than its row");
    file.take(run ? pixel : count * pixel);
    at += count;
  }
  return file.position();
}

}  // namespace

bool is_tga(Bytes bytes) {  // there is no magic number
  if (bytes.size() < 18) return false;
  const std::string name;
  ByteReader file(bytes, name);
  const Header h = read_header(file);
  const int kind = h.type % in_runs;
  return h.map <= 1 && (h.map || (h.map_first | h.map_length | h.map_bits) == 0) && h.type <= 11 && 1 <= kind &&
         kind <= 3 && (kind != 1 || h.map) && h.width && h.height &&
         (h.bits == 1 || h.bits == 8 || h.bits == 15 || h.bits == 16 || h.bits == 24 || h.bits == 32);
}

Picture decode_tga(Bytes bytes, const std::string& name) {
  ByteReader file(bytes, name);
  const Header h = read_header(file);
  const int kind = h.type % in_runs;  // 1: palette, 2: colours, 3: gray
  check_size(uint64_t(h.width), uint64_t(h.height), name);
  const bool known = kind == 1 ? h.bits == 8 : kind == 2 ? h.bits >= 16 : h.bits == 8 || h.bits == 16;
  if (!known || h.bits == 15 || h.map != (kind == 1) || (h.map && h.map_bits != 16 && h.map_bits != 24))
    fail(Exit::data, name, ": a TGA of type ", h.type, " with ", h.bits, " bits a pixel and ", h.map_bits,
         " bits a colour of its palette, which is not read; convert it to PNG");
  file.take(size_t(h.id));
  Picture picture;
  if (h.map) read_palette(file, h, name, picture);
  picture.mode = kind == 1      ? Mode::palette
                 : kind == 3    ? (h.bits == 8 ? Mode::gray : Mode::gray_alpha)
                 : h.bits == 24 ? Mode::rgb
                                : Mode::rgba;

  const Bytes rest = file.take(file.left());
  const uint64_t size = uint64_t(h.width) * uint64_t(h.height) * uint64_t(h.bits) / 8;
  if (h.type < in_runs && size > rest.size())
    fail(Exit::data, name, ": ", rest.size(), " bytes for ", h.width, "x", h.height, " pixels; the TGA is truncated");
  std::string header(18, '\0');
  header[2] = char(h.type - kind + (h.bits <= 16 ? 3 : 2));
  for (const int i : {0, 1})
    header[size_t(12 + i)] = char(h.width >> 8 * i), header[size_t(14 + i)] = char(h.height >> 8 * i);
  header[16] = char(h.bits), header[17] = char(h.flags & top_down);
  picture.samples =
      decode_with_stb(header, rest.first(h.type < in_runs ? size : length_of_runs(rest, h, name)), h.bits / 8);
  if (kind == 2 && h.bits == 16) {
    const Image words = std::move(picture.samples);
    picture.samples = Image(h.width, h.height, 4);
    for (size_t i = 0; i < words.pixels.size() / 2; ++i)
      unpack_word(words.pixels[2 * i] | words.pixels[2 * i + 1] << 8, &picture.samples.pixels[4 * i]);
  }
  return h.flags & right_to_left ? turned(std::move(picture), 2) : picture;
}

}  // namespace vlm2vec
