#include "mini/drawing.h"

#include <algorithm>

#include "io/error.h"

namespace vlm2vec::mini {

Image draw_cells(const World& world, Layout layout, const std::vector<int>& cells, Random& random) {
  CHECK(int(cells.size()) == layout.rows * layout.columns, "draw_cells: ", cells.size(), " pictures for ", layout.rows,
        " x ", layout.columns, " cells");
  Image image(layout.columns * cell_size, layout.rows * cell_size, 3);
  const uint8_t background[3] = {uint8_t(160 + random.below(96)), uint8_t(160 + random.below(96)),
                                 uint8_t(160 + random.below(96))};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = background[i % 3];

  for (size_t i = 0; i < cells.size(); ++i) {
    if (cells[i] == empty_cell) continue;
    const Image& sprite = world.pictures[cells[i]].sprites[random.below(uint32_t(sprite_sizes.size()))];
    const int room = cell_size - sprite.width + 1;
    const int top = int(i) / layout.columns * cell_size + int(random.below(room));
    const int left = int(i) % layout.columns * cell_size + int(random.below(room));
    for (int y = 0; y < sprite.height; ++y)
      for (int x = 0; x < sprite.width; ++x) {
        const uint8_t* over = sprite.at(y, x);
        uint8_t* under = image.at(top + y, left + x);
        for (int c = 0; c < 3; ++c) under[c] = blend(over[3], over[c], under[c]);
      }
  }
  return image;
}

Image grayscale(const Image& rgb) {
  Image gray = rgb;
  for (size_t i = 0; i < gray.pixels.size(); i += 3) {
    uint8_t* p = &gray.pixels[i];
    p[0] = p[1] = p[2] = uint8_t((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
  }
  return gray;
}

Image crop_cell(const Image& rgb, Layout layout, int cell) {
  const int top = cell / layout.columns * cell_size, left = cell % layout.columns * cell_size;
  Image crop(cell_size, cell_size, 3);
  for (int y = 0; y < cell_size; ++y) std::copy_n(rgb.at(top + y, left), 3 * cell_size, crop.at(y, 0));
  return crop;
}

}  // namespace vlm2vec::mini
