// EXIF's orientation (CIPA DC-008, tag 0x112), which says how a camera was held, and turning a picture upright by it.
#include <algorithm>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {
namespace {

constexpr uint32_t orientation_tag = 0x112, short_type = 3, long_type = 4;

// out(x, y) = in(u, v): orientations 5 to 8 swap the axes; 2, 3, 7 and 8 mirror u; 3, 4, 6 and 7 mirror v.
template <class T>
std::vector<T> turned(const std::vector<T>& in, Size size, int per_pixel, int orientation) {
  const bool swap = orientation >= 5, mirror_u = orientation == 2 || orientation == 3 || orientation >= 7,
             mirror_v = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  std::vector<T> out(in.size());
  auto to = out.begin();
  for (int y = 0; y < (swap ? size.width : size.height); ++y)
    for (int x = 0; x < (swap ? size.height : size.width); ++x, to += per_pixel) {
      const int u = swap ? y : x, v = swap ? x : y;
      const size_t column = size_t(mirror_u ? size.width - 1 - u : u), row = size_t(mirror_v ? size.height - 1 - v : v);
      std::copy_n(&in[(row * size_t(size.width) + column) * size_t(per_pixel)], per_pixel, to);
    }
  return out;
}

}  // namespace

int orientation_of(Bytes exif) {
  const auto is = [&](std::string_view beginning) {
    return exif.size() >= 8 && std::equal(beginning.begin(), beginning.end(), exif.begin());
  };
  using namespace std::string_view_literals;
  if (is("Exif\0\0"sv)) exif = exif.subspan(6);
  const bool little = is("II*\0"sv);
  if (!little && !is("MM\0*"sv)) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes && at + i < exif.size(); ++i)
      value |= uint32_t(exif[at + i]) << 8 * (little ? i : bytes - 1 - i);
    return value;
  };
  const size_t directory = number(4, 4), entries = number(directory, 2);
  for (size_t at = directory + 2; at + 12 <= exif.size() && at < directory + 2 + 12 * entries; at += 12) {
    if (number(at, 2) != orientation_tag) continue;
    const uint32_t type = number(at + 2, 2), count = number(at + 4, 4);
    const size_t bytes = type == short_type ? 2 : type == long_type ? 4 : 0;
    const uint32_t value = number(at + 8, bytes);
    return count == 1 && 1 <= value && value <= 8 ? int(value) : 1;
  }
  return 1;
}

Picture turned(Picture picture, int orientation) {
  if (orientation == 1) return picture;
  Image& samples = picture.samples;
  if (!picture.wide.empty()) picture.wide = turned(picture.wide, samples.size(), 1, orientation);
  else samples.pixels = turned(samples.pixels, samples.size(), samples.channels, orientation);
  if (orientation >= 5) std::swap(samples.width, samples.height);
  picture.orientation = 1;
  return picture;
}

}  // namespace vlm2vec
