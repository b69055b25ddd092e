// Pillow's antialiased resampling, bit for bit (Pillow before 13, src/libImaging/Resample.c):
//   weight of source j for output x:  f((j + 1/2 - c)/s) / sum,  c = (x + 1/2) n/m,  s = max(n/m, 1),  |j - c| < r s
// with r the radius of f; as 22-bit fixed point for 8-bit samples, as doubles for wide ones; first along the rows,
// rounded to samples, then along the columns. A side that keeps its size is skipped. Doubles must not be contracted to
// FMA, which could turn a rounding (-ffp-contract=off in CMakeLists.txt).
#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/error.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

constexpr int fraction_bits = 22;  // 32 less 8 for the sample less 2 for sums of weights beyond 1
constexpr int half = 1 << (fraction_bits - 1);

struct Kernel {
  double radius;
  double (*value)(double x);
};

double box(double x) { return -0.5 < x && x <= 0.5 ? 1 : 0; }

double bilinear(double x) { return std::max(0.0, 1 - std::fabs(x)); }

// Keys 1981 with a = -1/2, in Pillow's order of operations.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double sinc(double x) {
  x *= std::numbers::pi;
  return x == 0 ? 1 : std::sin(x) / x;
}

// Lanczos' window of three lobes.
double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return {0.5, box};
    case Filter::bilinear:
      return {1, bilinear};
    case Filter::lanczos:
      return {3, lanczos};
    default:
      return {2, bicubic};
  }
}

// The source samples that one output sample is made of.
template <class Weight>
struct Taps {
  int begin;
  std::vector<Weight> weights;
};

std::vector<Taps<double>> taps_of(int from, int to, Filter filter) {
  const Kernel kernel = kernel_of(filter);
  const double scale = double(from) / to, stretch = std::max(scale, 1.0);
  const double support = kernel.radius * stretch, reciprocal = 1 / stretch;
  std::vector<Taps<double>> taps(to);
  for (int x = 0; x < to; ++x) {
    const double centre = (x + 0.5) * scale;
    const int begin = std::max(0, int(centre - support + 0.5)), end = std::min(from, int(centre + support + 0.5));
    std::vector<double>& weights = taps[x].weights;
    double sum = 0;
    for (int j = 0; j < end - begin; ++j) {
      weights.push_back(kernel.value((j + begin - centre + 0.5) * reciprocal));
      sum += weights.back();
    }
    if (sum != 0)
      for (double& weight : weights) weight /= sum;
    taps[x].begin = begin;
  }
  return taps;
}

std::vector<Taps<int>> fixed_taps_of(int from, int to, Filter filter) {
  std::vector<Taps<int>> fixed;
  for (const Taps<double>& taps : taps_of(from, to, filter)) {
    fixed.push_back({taps.begin, {}});
    for (const double weight : taps.weights)
      fixed.back().weights.push_back(int(weight * (1 << fraction_bits) + (weight < 0 ? -0.5 : 0.5)));
  }
  return fixed;
}

uint8_t clip8(int sum) { return uint8_t(std::clamp(sum >> fraction_bits, 0, 255)); }

template <int channels>
void resize_rows(const Image& in, Image& out, Filter filter) {
  const std::vector<Taps<int>> taps = fixed_taps_of(in.width, out.width, filter);
  for (int y = 0; y < in.height; ++y) {
    uint8_t* to = out.at(y, 0);
    for (const Taps<int>& tap : taps) {
      int sum[channels];
      std::fill_n(sum, channels, half);
      const uint8_t* from = in.at(y, tap.begin);
      for (const int weight : tap.weights)
        for (int c = 0; c < channels; ++c) sum[c] += *from++ * weight;
      for (int c = 0; c < channels; ++c) *to++ = clip8(sum[c]);
    }
  }
}

Image resize_width(const Image& in, int width, Filter filter) {
  Image out(width, in.height, in.channels);
  switch (in.channels) {
    case 1:
      resize_rows<1>(in, out, filter);
      break;
    case 2:
      resize_rows<2>(in, out, filter);
      break;
    case 3:
      resize_rows<3>(in, out, filter);
      break;
    case 4:
      resize_rows<4>(in, out, filter);
      break;
  }
  return out;
}

Image resize_height(const Image& in, int height, Filter filter) {
  Image out(in.width, height, in.channels);
  const std::vector<Taps<int>> taps = fixed_taps_of(in.height, height, filter);
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

uint8_t divided(int c, int a) { return a == 0 || a == 255 ? uint8_t(c) : uint8_t(std::min(255, 255 * c / a)); }

template <class Formula>
void for_each_colour(Image& image, Formula formula) {  // colour, alpha -> colour
  const int channels = image.channels;
  for (size_t i = 0; i < image.pixels.size(); i += channels)
    for (int c = 0; c < channels - 1; ++c)
      image.pixels[i + c] = formula(image.pixels[i + c], image.pixels[i + channels - 1]);
}

// Each output sample's source: an accumulated double, as in Pillow, not (x + 1/2) from / to.
std::vector<int> nearest_of(int from, int to) {
  const double step = double(from) / to;
  std::vector<int> sources(to);
  double at = step * 0.5;
  for (int& source : sources) source = std::min(int(at), from - 1), at += step;
  return sources;
}

template <class Sample>
std::vector<Sample> resize_nearest(const std::vector<Sample>& in, Size from, Size to, int channels) {
  std::vector<Sample> out;
  out.reserve(size_t(to.width) * to.height * channels);
  const std::vector<int> columns = nearest_of(from.width, to.width);
  for (const int y : nearest_of(from.height, to.height))
    for (const int x : columns) {
      const auto pixel = in.begin() + (int64_t(y) * from.width + x) * channels;
      out.insert(out.end(), pixel, pixel + channels);
    }
  return out;
}

int32_t rounded(double x) { return int32_t(x >= 0 ? x + 0.5 : x - 0.5); }

// Pillow stores a 16-bit sum byte by byte: a sum beyond 65535 keeps its low byte under a full high one.
int32_t rounded16(double x) {
  const int32_t sum = rounded(x);
  return std::clamp(sum % 256, 0, 255) | std::clamp(sum >> 8, 0, 255) << 8;
}

// One pass over wide samples: `count` lines of `from` samples that lie `stride` apart, the lines `next` apart.
template <class Round>
void resize_lines(const int32_t* in, int32_t* out, const std::vector<Taps<double>>& taps, int64_t count,
                  int64_t in_next, int64_t out_next, int64_t stride, Round round) {
  for (int64_t line = 0; line < count; ++line, in += in_next, out += out_next)
    for (size_t x = 0; x < taps.size(); ++x) {
      double sum = 0;
      const int32_t* from = in + taps[x].begin * stride;
      for (const double weight : taps[x].weights) sum += *from * weight, from += stride;
      out[int64_t(x) * stride] = round(sum);
    }
}

std::vector<int32_t> resize_wide(std::vector<int32_t> in, Size from, Size to, Filter filter, int32_t (*round)(double)) {
  if (to.width != from.width) {
    std::vector<int32_t> out(size_t(to.width) * from.height);
    resize_lines(in.data(), out.data(), taps_of(from.width, to.width, filter), from.height, from.width, to.width, 1,
                 round);
    in = std::move(out);
  }
  if (to.height != from.height) {
    std::vector<int32_t> out(size_t(to.width) * to.height);
    resize_lines(in.data(), out.data(), taps_of(from.height, to.height, filter), to.width, 1, 1, to.width, round);
    in = std::move(out);
  }
  return in;
}

void check_sizes(Size from, Size to) {
  CHECK(to.width > 0 && to.height > 0 && from.width > 0 && from.height > 0, "resize: ", from.width, "x", from.height,
        " to ", to.width, "x", to.height, "; sides must be positive");
}

// Resizes each channel by itself.
Image resize_channels(const Image& image, Size size, Filter filter) {
  if (filter == Filter::nearest) {
    Image out;
    out.width = size.width, out.height = size.height, out.channels = image.channels;
    out.pixels = resize_nearest(image.pixels, image.size(), size, image.channels);
    return out;
  }
  Image narrow;
  const Image* rows = &image;
  if (size.width != image.width) rows = &(narrow = resize_width(image, size.width, filter));
  return size.height != image.height ? resize_height(*rows, size.height, filter) : *rows;
}

}  // namespace

Filter parse_filter(const std::string& name) {
  constexpr const char* names[] = {"nearest", "box", "bilinear", "bicubic", "lanczos"};
  for (int i = 0; i < 5; ++i)
    if (name == names[i]) return Filter(i);
  fail(Exit::usage, "there is no filter \"", name, "\"; expected nearest, box, bilinear, bicubic or lanczos");
}

Image resize(const Image& image, Size size, Filter filter) {
  check_sizes(image.size(), size);
  if (size == image.size()) return image;
  const bool alpha = image.channels == 2 || image.channels == 4;
  if (!alpha || filter == Filter::nearest) return resize_channels(image, size, filter);
  Image premultiplied = image;
  for_each_colour(premultiplied, product_of_bytes);
  Image out = resize_channels(premultiplied, size, filter);
  for_each_colour(out, divided);
  return out;
}

Picture resize(const Picture& picture, Size size, Filter filter) {
  check_sizes(picture.samples.size(), size);
  const Size from = picture.samples.size();
  Picture out{picture.mode, {}, picture.palette, {}, picture.flaw};
  switch (picture.mode) {
    case Mode::bilevel:
    case Mode::palette:
      out.samples = resize_channels(picture.samples, size, Filter::nearest);
      break;
    case Mode::cmyk:
      out.samples = resize_channels(picture.samples, size, filter);
      break;
    case Mode::gray16:
    case Mode::gray32:
      out.samples = Image(size.width, size.height, 0);
      out.wide = filter == Filter::nearest ? resize_nearest(picture.wide, from, size, 1)
                                           : resize_wide(picture.wide, from, size, filter,
                                                         picture.mode == Mode::gray16 ? rounded16 : rounded);
      break;
    default:
      out.samples = resize(picture.samples, size, filter);
  }
  return out;
}

}  // namespace vlm2vec
