// Pillow's antialiased bicubic resampling, bit for bit (Pillow before 13, src/libImaging/Resample.c):
//   weight of source j for output x:  f((j + 1/2 - c)/s) / sum,  c = (x + 1/2) n/m,  s = max(n/m, 1),  |j - c| < 2 s
// as 22-bit fixed point; first along the rows, rounded to 8 bits, then along the columns. A side that keeps its size is
// skipped. Doubles must not be contracted to FMA: it could turn a rounding (-ffp-contract=off in CMakeLists.txt).
#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "vlm/image.h"

namespace vlm2vec {
namespace {

constexpr int fraction_bits = 22;  // 32 less 8 for the sample less 2 for sums of weights beyond 1
constexpr int half = 1 << (fraction_bits - 1);

// Keys 1981 with a = -1/2, in Pillow's order of operations.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// The source samples that one output sample is made of.
struct Taps {
  int begin;
  std::vector<int> weights;
};

std::vector<Taps> taps_of(int from, int to) {
  const double scale = double(from) / to, stretch = std::max(scale, 1.0);
  const double support = 2 * stretch, reciprocal = 1 / stretch;
  std::vector<Taps> taps(to);
  std::vector<double> weights;
  for (int x = 0; x < to; ++x) {
    const double centre = (x + 0.5) * scale;
    const int begin = std::max(0, int(centre - support + 0.5)), end = std::min(from, int(centre + support + 0.5));
    weights.clear();
    double sum = 0;
    for (int j = 0; j < end - begin; ++j) {
      weights.push_back(bicubic((j + begin - centre + 0.5) * reciprocal));
      sum += weights.back();
    }
    taps[x].begin = begin;
    for (double weight : weights) {
      if (sum != 0) weight /= sum;
      taps[x].weights.push_back(int(weight * (1 << fraction_bits) + (weight < 0 ? -0.5 : 0.5)));
    }
  }
  return taps;
}

uint8_t clip8(int sum) { return uint8_t(std::clamp(sum >> fraction_bits, 0, 255)); }

template <int channels>
void resize_rows(const Image& in, Image& out) {
  const std::vector<Taps> taps = taps_of(in.width, out.width);
  for (int y = 0; y < in.height; ++y) {
    uint8_t* to = out.at(y, 0);
    for (const Taps& tap : taps) {
      int sum[channels];
      std::fill_n(sum, channels, half);
      const uint8_t* from = in.at(y, tap.begin);
      for (const int weight : tap.weights)
        for (int c = 0; c < channels; ++c) sum[c] += *from++ * weight;
      for (int c = 0; c < channels; ++c) *to++ = clip8(sum[c]);
    }
  }
}

Image resize_width(const Image& in, int width) {
  Image out(width, in.height, in.channels);
  switch (in.channels) {
    case 1:
      resize_rows<1>(in, out);
      break;
    case 2:
      resize_rows<2>(in, out);
      break;
    case 3:
      resize_rows<3>(in, out);
      break;
    case 4:
      resize_rows<4>(in, out);
      break;
  }
  return out;
}

Image resize_height(const Image& in, int height) {
  Image out(in.width, height, in.channels);
  const std::vector<Taps> taps = taps_of(in.height, height);
  const size_t row = size_t(in.width) * in.channels;
  std::vector<int> sums(row);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), half);
    const uint8_t* from = in.at(taps[y].begin, 0);
    for (const int weight : taps[y].weights) {
      for (size_t i = 0; i < row; ++i) sums[i] += from[i] * weight;
      from += row;
    }
    std::transform(sums.begin(), sums.end(), out.at(y, 0), clip8);
  }
  return out;
}

// round(c a / 255) without a division, exact for bytes.
uint8_t premultiplied(int c, int a) {
  const int t = c * a + 128;
  return uint8_t(((t >> 8) + t) >> 8);
}

uint8_t divided(int c, int a) { return a == 0 || a == 255 ? uint8_t(c) : uint8_t(std::min(255, 255 * c / a)); }

template <class Formula>
void for_each_colour(Image& image, Formula formula) {  // colour, alpha -> colour
  const int channels = image.channels;
  for (size_t i = 0; i < image.pixels.size(); i += channels)
    for (int c = 0; c < channels - 1; ++c)
      image.pixels[i + c] = formula(image.pixels[i + c], image.pixels[i + channels - 1]);
}

}  // namespace

Image resize_bicubic(const Image& image, int width, int height) {
  CHECK(width > 0 && height > 0 && image.width > 0 && image.height > 0, "resize_bicubic: ", image.width, "x",
        image.height, " to ", width, "x", height, "; sides must be positive");
  Image out = image;
  if (width == image.width && height == image.height) return out;
  const bool alpha = image.channels == 2 || image.channels == 4;
  if (alpha) for_each_colour(out, premultiplied);
  if (width != out.width) out = resize_width(out, width);
  if (height != out.height) out = resize_height(out, height);
  if (alpha) for_each_colour(out, divided);
  return out;
}

}  // namespace vlm2vec
