// LLaVA-NeXT's image processor (anyres), bit for bit. A picture becomes a square view of the whole, and tiles of the
// same size. These are cut from a canvas: the best of a few sizes (image_grid_pinpoints), the scaled picture in its
// middle, black around it.
#pragma once
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// Reads image_grid_pinpoints, the sizes that tiles are cut from; without it, those of LLaVA-1.6. `tile`: side of a
// tile. Throws Exit::data, without the file's name.
std::vector<Size> read_canvases(const nlohmann::json& settings, int tile);

struct AnyRes : PictureRule {
  // V1's --image_resolution (high, mid, low or another word), from no file; empty: pictures become RGB first.
  std::string image_resolution = "";

  AnyRes();
  // Throws Exit::data, without the file's name, for anything but LLaVA-NeXT's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // Returns RGB: the canvas that tiles are cut from, and the square view of the whole below it, at the left.
  Image apply(Picture picture) const override;
  std::string key() const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  nlohmann::ordered_json processor_settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
  Grid grid_of(const Image& image) const override;
  // The patches of the view of the whole, those of the tiles that are not padding, and one for the end of each line.
  int tokens_of(const Grid& grid) const override;
  void write_patches(const Image& image, float* out) const override;
  Laid on_image(const Grid& grid, std::span<const float> of_patches) const override;

  // Returns the one of `canvases` that keeps most of a picture's pixels and, of such, wastes fewest.
  Size canvas_of(Size size) const;
};

}  // namespace vlm2vec
