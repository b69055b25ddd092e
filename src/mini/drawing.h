// Pictures of the miniature MMEB: RGB sprites in cells of 32 x 32 pixels over one background colour. Integer arithmetic
// gives the same bytes on every machine. Cells are numbered row by row.
#pragma once
#include <vector>

#include "mini/world.h"
#include "tensor/random.h"

namespace vlm2vec::mini {

inline constexpr int cell_size = 32;  // pixels; one merged token of the miniature's vision tower
inline constexpr int empty_cell = -1;

struct Layout {
  int rows, columns;
};
inline constexpr Layout single = {1, 1}, pair = {1, 2}, triple = {1, 3}, grid = {2, 2};

// Returns the integer nearest to (alpha * over + (255 - alpha) * under) / 255.
inline uint8_t blend(int alpha, int over, int under) {
  const int t = alpha * over + (255 - alpha) * under + 128;
  return uint8_t((t + (t >> 8)) >> 8);
}

// Draws one picture per cell (an index into World::pictures, or empty_cell) at a random size and place in the cell,
// over a random light background (each channel 160 … 255).
Image draw_cells(const World& world, Layout layout, const std::vector<int>& cells, Random& random);

Image grayscale(const Image& rgb);  // (299 R + 587 G + 114 B) / 1000, rounded, in all three channels
Image crop_cell(const Image& rgb, Layout layout, int cell);

}  // namespace vlm2vec::mini
