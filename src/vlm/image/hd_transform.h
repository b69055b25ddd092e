// Phi-3.5-V's image processor (Phi3VImageProcessor). It enlarges a picture to as many square tiles as --num_crops
// allows, and fills them up with white. A view of the whole is one tile more.
#pragma once
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// merge x merge patches become one vector; a vector ends each line of tiles and of the whole, and one lies between the
// two.
int hd_vectors(const Grid& grid, int merge);

struct HdTransform : PictureRule {
  HdTransform() {
    patch_size = 0, merge_size = 2, picture_size = 336, num_crops = 1, processor_class = "Phi3VProcessor";
  }
  // Throws Exit::data, without the file's name, for anything but this image processor. Field crop_size, which only this
  // program writes: side of a tile other than 336.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // Returns RGB in the size of size_of(): resized as wide (tall pictures are transposed before and after), with white
  // above and below.
  Image apply(Picture picture) const override;
  // Throws Exit::data for a picture so wide that no row of pixels would be left, as the official code does.
  Size size_of(Size size) const;
  std::string key() const override;
  Grid grid_of(const Image& image) const override;
  int tokens_of(const Grid& grid) const override { return hd_vectors(grid, merge_size); }
  // The whole is resized after normalising: bicubic with a = -0.75, not antialiased, as torch does it.
  void write_patches(const Image& image, float* out) const override;
  // A number of the whole is divided among the tiles' patches that show the same.
  Laid on_image(const Grid& grid, std::span<const float> of_patches) const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;

 private:
  struct Fit {
    Size resized;
    int height;  // with the white
  };
  Fit fit(Size wide) const;
};

}  // namespace vlm2vec
