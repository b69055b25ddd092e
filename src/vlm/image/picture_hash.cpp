#include "vlm/image/picture_hash.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

namespace vlm2vec {
namespace {

constexpr int kSide = 32, kFrequencies = 8;

// cos(pi / 32 (x + 1/2) f) for f = 1 to 8: [f - 1][x]
std::array<std::array<double, kSide>, kFrequencies> cosines() {
  std::array<std::array<double, kSide>, kFrequencies> table;
  for (int f = 0; f < kFrequencies; ++f)
    for (int x = 0; x < kSide; ++x) table[f][x] = std::cos(std::numbers::pi / kSide * (x + 0.5) * (f + 1));
  return table;
}

}  // namespace

Digest pixel_digest(const Image& rgb) {
  const int32_t size[2] = {rgb.width, rgb.height};
  std::string bytes(sizeof size + rgb.pixels.size(), '\0');
  std::memcpy(bytes.data(), size, sizeof size);
  std::memcpy(bytes.data() + sizeof size, rgb.pixels.data(), rgb.pixels.size());
  return sha256(bytes);
}

std::optional<uint64_t> perceptual_hash(const Image& rgb) {
  static const auto table = cosines();
  const Image small = resize(rgb, {kSide, kSide}, Filter::bilinear);
  double rows[kFrequencies][kSide] = {};  // transformed along y: [v][x]
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      const uint8_t* p = small.at(y, x);
      const double gray = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];  // ITU-R BT.601
      for (int v = 0; v < kFrequencies; ++v) rows[v][x] += table[v][y] * gray;
    }
  std::array<double, kFrequencies * kFrequencies> values{};
  for (int v = 0; v < kFrequencies; ++v)
    for (int u = 0; u < kFrequencies; ++u)
      for (int x = 0; x < kSide; ++x) values[v * kFrequencies + u] += table[u][x] * rows[v][x];
  // A difference of one level between two halves is about 300.
  if (std::none_of(values.begin(), values.end(), [](double value) { return std::abs(value) > 256; })) return {};
  auto sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const double median = (sorted[31] + sorted[32]) / 2;
  uint64_t hash = 0;
  for (size_t i = 0; i < values.size(); ++i) hash |= uint64_t(values[i] > median) << i;
  return hash;
}

}  // namespace vlm2vec
