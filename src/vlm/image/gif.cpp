// GIF (GIF89a specification, CompuServe 1990) as Pillow reads it: the first frame, LZW-coded indices of 1 to 8 bits. A
// palette that is a ramp of grays makes a gray picture. Outside the frame the index is 0 or the transparent one. A
// frame that sticks out enlarges the screen.
#include <array>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

constexpr int most_codes = 4096, most_bits = 12;

bool is_ramp(Bytes palette) {
  for (size_t i = 0; i < palette.size(); ++i)
    if (palette[i] != i / 3) return false;
  return true;
}

// Reads the codes of the frame's sub-blocks, of growing width, least significant bit first.
class Codes {
 public:
  explicit Codes(ByteReader& file) : file_(file) {}
  int next(int width) {
    while (count_ < width) {
      while (block_.empty()) block_ = file_.take(size_t(file_.u8()));
      bits_ |= uint32_t(block_[0]) << count_;
      count_ += 8;
      block_ = block_.subspan(1);
    }
    const int code = int(bits_ & ((1u << width) - 1));
    bits_ >>= width;
    count_ -= width;
    return code;
  }

 private:
  ByteReader& file_;
  Bytes block_;
  uint32_t bits_ = 0;
  int count_ = 0;
};

// Decodes `count` indices and hands them on one by one (Welch 1984). A code stands for the string of an earlier code
// and one more index; strings are kept as links to their beginnings and unrolled from behind.
template <class Emit>
void read_indices(ByteReader& file, int bits, size_t count, const std::string& name, Emit emit) {
  const auto damaged = [&](const char* fault) { fail(Exit::data, name, ": damaged GIF: ", fault); };
  if (bits > most_bits) damaged("its codes are wider than 12 bits");
  const int clear = 1 << bits, end = clear + 1;
  std::array<uint16_t, most_codes> link{};
  std::array<uint8_t, most_codes> last{};
  std::array<uint8_t, most_codes + 1> text;
  Codes codes(file);
  int free = end + 1, width = bits + 1, previous = -1;
  uint8_t first = 0;  // index that the previous string began with
  while (count > 0) {
    const int code = codes.next(width);
    if (code == clear) {
      free = end + 1, width = bits + 1, previous = -1;
      continue;
    }
    if (code == end) damaged("its data end before the frame is full");
    size_t begin = text.size();
    int rest = code;
    if (previous < 0) {
      if (code > clear) damaged("a code that is not defined");
    } else if (code >= free) {  // the string being defined: the previous one and its own first index
      if (code > free || code >= most_codes) damaged("a code that is not defined");
      text[--begin] = first;
      rest = previous;
    }
    for (; rest >= clear; rest = link[size_t(rest)]) {
      if (begin < 2) damaged("a string without end");
      text[--begin] = last[size_t(rest)];
    }
    first = uint8_t(rest);
    text[--begin] = first;
    if (previous >= 0 && free < most_codes) {
      last[size_t(free)] = first;
      link[size_t(free)] = uint16_t(previous);
      if (free == (1 << width) - 1 && width < most_bits) ++width;
      ++free;
    }
    previous = code;
    for (; begin < text.size() && count > 0; ++begin, --count) emit(text[begin]);
  }
}

// The order in which an interlaced frame's rows come: every 8th from 0 and from 4, every 4th from 2, every 2nd from 1.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> rows;
  const std::array<std::array<int, 2>, 4> passes = {{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
  if (!interlaced)
    for (int y = 0; y < height; ++y) rows.push_back(y);
  else
    for (const auto& [start, step] : passes)
      for (int y = start; y < height; y += step) rows.push_back(y);
  return rows;
}

}  // namespace

Picture decode_gif(Bytes bytes, const std::string& name) {
  ByteReader file(bytes, name);
  file.seek(6);
  int width = file.u16(), height = file.u16();
  const int screen_flags = file.u8();
  file.take(2);  // background colour, aspect ratio
  const auto palette_size = [](int flags) { return flags & 128 ? size_t(3) << ((flags & 7) + 1) : 0; };
  Bytes palette = file.take(palette_size(screen_flags));
  int transparent = 0;

  for (int kind = file.u8(); kind != ','; kind = file.u8()) {
    if (kind == ';') fail(Exit::data, name, ": a GIF without a picture");
    if (kind != '!') continue;
    const int label = file.u8();
    for (bool first = true;; first = false) {
      const Bytes block = file.take(size_t(file.u8()));
      if (block.empty()) break;
      if (label == 0xF9 && first && (block[0] & 1) && block.size() > 3) transparent = block[3];  // graphic control
    }
  }
  const int left = file.u16(), top = file.u16();
  const int frame_width = file.u16(), frame_height = file.u16(), flags = file.u8();
  if (flags & 128) palette = file.take(palette_size(flags));
  Picture picture;
  if (left + frame_width > width || top + frame_height > height) {
    picture.flaw = sentence("the frame sticks out of the screen of ", width, "x", height);
    width = std::max(width, left + frame_width), height = std::max(height, top + frame_height);
  }
  check_size(uint64_t(width), uint64_t(height), name);
  check_size(uint64_t(frame_width), uint64_t(frame_height), name);
  const int bits = file.u8();
  constexpr uint64_t most_per_byte = most_codes * 8 / 3;  // the most indices of a code of three bits
  if (uint64_t(frame_width) * uint64_t(frame_height) / most_per_byte > bytes.size())
    fail(Exit::data, name, ": ", bytes.size(), " bytes for ", frame_width, "x", frame_height,
         " pixels; the GIF is truncated");

  picture.samples = Image(width, height, 1);
  std::fill(picture.samples.pixels.begin(), picture.samples.pixels.end(), uint8_t(transparent));
  picture.mode = is_ramp(palette) ? Mode::gray : Mode::palette;
  if (picture.mode == Mode::palette) {
    for (size_t i = 0; i < 256; ++i)
      for (size_t c = 0; c < 4; ++c)
        picture.palette.push_back(c == 3 ? 255 : 3 * i < palette.size() ? palette[3 * i + c] : 0);
  }
  const std::vector<int> rows = row_order(frame_height, flags & 64);
  auto row = rows.begin();
  int x = 0;
  read_indices(file, bits, size_t(frame_width) * size_t(frame_height), name, [&](uint8_t index) {
    *picture.samples.at(top + *row, left + x) = index;
    if (++x == frame_width) x = 0, ++row;
  });
  return picture;
}

}  // namespace vlm2vec
