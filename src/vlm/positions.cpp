// Frequencies and angles are float32 products as in the reference; their cosines and sines are rounded from double.
#include "vlm/positions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "io/error.h"

namespace vlm2vec {
namespace {

// 1 / theta^(2i / dim), i < dim / 2
std::vector<float> inverse_frequencies(int dim, double theta) {
  std::vector<float> frequencies(dim / 2);
  for (int i = 0; i < dim / 2; ++i) frequencies[i] = 1 / float(std::pow(theta, float(2 * i) / float(dim)));
  return frequencies;
}

RopeTable empty_table(int64_t rows, int64_t columns) {
  const Shape shape = {rows, columns};
  return {Tensor(shape, DType::f32, Device::cpu), Tensor(shape, DType::f32, Device::cpu)};
}

// Returns the angles of one coordinate: [positions, frequencies].
RopeTable line_of(int64_t positions, std::span<const float> frequencies) {
  const RopeTable line = empty_table(positions, int64_t(frequencies.size()));
  for (int64_t position = 0, at = 0; position < positions; ++position)
    for (const float frequency : frequencies) {
      const float angle = float(position) * frequency;
      line.cos.data<float>()[at] = float(std::cos(double(angle)));
      line.sin.data<float>()[at++] = float(std::sin(double(angle)));
    }
  return line;
}

}  // namespace

ImagePositions parse_image_positions(const std::string& word) {
  if (word == "1d") return ImagePositions::one_d;
  if (word == "3d") return ImagePositions::three_d;
  fail(Exit::usage, "--image_positions: got \"", word, "\", expected 1d or 3d");
}

std::vector<int32_t> mrope_positions(std::span<const int32_t> ids, std::span<const Grid> grids, int32_t vision_start,
                                     int32_t image_token, int merge_size, ImagePositions which) {
  const int tokens = int(ids.size());
  size_t pictures = which == ImagePositions::three_d ? grids.size() : 0;
  for (int n = 0; n + 1 < tokens && !grids.empty() && which == ImagePositions::one_d; ++n)
    pictures += ids[n] == vision_start && ids[n + 1] == image_token;
  CHECK(pictures <= grids.size(), "mrope_positions: the text opens ", pictures, " pictures, but there are ",
        grids.size());

  std::vector<int32_t> positions(3 * size_t(tokens));
  const auto place = [&](int n, std::array<int32_t, 3> position) {
    for (int stream = 0; stream < 3; ++stream) positions[size_t(stream) * tokens + n] = position[stream];
  };
  int n = 0, next = 0;
  const auto text_until = [&](int end) {
    for (; n < end; ++n, ++next) place(n, {next, next, next});
  };
  for (const Grid& grid : grids.first(pictures)) {
    text_until(int(std::find(ids.begin() + n, ids.end(), image_token) - ids.begin()));
    const int rows = grid.h / merge_size, columns = grid.w / merge_size;
    const int size = grid.t * rows * columns;
    CHECK(tokens - n >= size && std::all_of(&ids[n], &ids[n] + size, [&](int32_t id) { return id == image_token; }),
          "mrope_positions: a picture of ", size, " tokens has fewer places in the text; was the text cut?");
    for (int t = 0; t < grid.t; ++t)
      for (int row = 0; row < rows; ++row)
        for (int column = 0; column < columns; ++column) place(n++, {next + t, next + row, next + column});
    next += std::max({grid.t, rows, columns});
  }
  text_until(tokens);
  return positions;
}

RopeTable text_rotary(std::span<const int32_t> positions, int head_dim, double theta, std::span<const int> sections,
                      bool interleaved) {
  CHECK(std::accumulate(sections.begin(), sections.end(), 0) * 2 == head_dim, "text_rotary: the sections sum to ",
        std::accumulate(sections.begin(), sections.end(), 0), ", expected half of head_dim ", head_dim);
  const std::vector<float> frequencies = inverse_frequencies(head_dim, theta);
  const int64_t tokens = int64_t(positions.size() / sections.size());
  const RopeTable table = empty_table(tokens, head_dim / 2);
  std::vector<size_t> streams;  // of each frequency
  for (size_t stream = 0; stream < sections.size(); ++stream)
    streams.insert(streams.end(), size_t(sections[stream]), stream);
  for (size_t i = 0; interleaved && i < streams.size(); ++i)
    streams[i] = i % 3 > 0 && int(i) < 3 * sections[i % 3] ? i % 3 : 0;
  // Positions repeat from row to row of a batch.
  const RopeTable line = line_of(positions.empty() ? 0 : *std::ranges::max_element(positions) + 1, frequencies);
  float *cos = table.cos.data<float>(), *sin = table.sin.data<float>();
  for (int64_t n = 0; n < tokens; ++n)
    for (size_t i = 0; i < streams.size(); ++i) {
      const size_t from = size_t(positions[streams[i] * size_t(tokens) + size_t(n)]) * streams.size() + i;
      *cos++ = line.cos.data<float>()[from], *sin++ = line.sin.data<float>()[from];
    }
  return table;
}

RopeTable vision_rotary(std::span<const Grid> grids, int head_dim, int merge_size) {
  CHECK(head_dim % 4 == 0, "vision_rotary: head_dim is ", head_dim, ", expected a multiple of 4");
  const std::vector<float> frequencies = inverse_frequencies(head_dim / 2, 10000);
  const int half = head_dim / 4;
  int64_t longest = 0, patches = 0;
  for (const Grid& grid : grids) {
    longest = std::max<int64_t>({longest, grid.h, grid.w});
    patches += grid.patches();
  }
  const RopeTable line = line_of(longest, frequencies);  // of rows and columns

  const RopeTable table = empty_table(patches, 2 * half);
  float *cos = table.cos.data<float>(), *sin = table.sin.data<float>();
  const auto append = [&](int position) {
    cos = std::copy_n(line.cos.data<float>() + position * half, half, cos);
    sin = std::copy_n(line.sin.data<float>() + position * half, half, sin);
  };
  for (const Grid& grid : grids)
    for_each_patch(grid, merge_size, [&](int row, int column) { append(row), append(column); });
  return table;
}

}  // namespace vlm2vec
