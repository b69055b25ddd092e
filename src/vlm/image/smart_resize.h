// Qwen2-VL's image processor, bit for bit: resizes to multiples of patch_size merge_size, with an area within bounds.
// Qwen2.5-VL and Qwen3-VL use it with other numbers.
#pragma once
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// The versions of smart_resize. They differ in tiny, thin and very long pictures:
//   vlm2vec        a side below the factor, or sides beyond 200 : 1, make both as long as the longer side
//   transformers   refuses sides beyond 200 : 1; a side may round to nothing, and then the area is below the bound
//   qwen_vl_utils  refuses them, too; a side is at least the factor before areas are compared
//   gme            as qwen_vl_utils, but shortens sides beyond 200 : 1
enum class Sides { vlm2vec, transformers, qwen_vl_utils, gme };

// VLM2Vec V1's --image_resolution: resizes in the file's own mode to 1344x1344 (high), 672x672 (mid) or a square of
// `low` pixels to a side; with another word, pictures with a side above 1344 to 1344x1344.
Picture resize_like_v1(Picture picture, const std::string& resolution, int low);
std::string resolution_note(const std::string& word);  // for take_resolution()

struct SmartResize : PictureRule {
  int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280;
  bool min_given = false, max_given = false;  // the bounds are those of options
  Sides sides = Sides::vlm2vec;
  bool on_white = false;                      // RGBA is laid on white, instead of losing its alpha
  std::shared_ptr<const SmartResize> before;  // prepares the picture first
  // V1's --image_resolution (high, mid, low or another word), from no file; empty: VLM2Vec V2, which converts first.
  std::string image_resolution = "";

  SmartResize() { temporal_patch_size = merge_size = 2, processor_class = "Qwen2VLProcessor"; }
  // Throws Exit::data, without the file's name, for anything but Qwen2-VL's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // Returns RGB in the size of size_of(). Before that VLM2Vec resizes by itself. V2: pictures with a side below 28 to
  // 56x56. V1: as resize_like_v1() with 128 for low.
  Image apply(Picture picture) const override;
  std::string key() const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
  std::unique_ptr<PictureRule> along(PictureRoute route) const override;

  // Returns the size for the resize: the nearest multiples of the factor, scaled where the area is out of bounds.
  Size size_of(Size size) const;

 private:
  Image resized(Image rgb) const;
};

}  // namespace vlm2vec
