// Turns a picture into the patches that a vision tower reads. Each family has one rule; the processor's file of the
// model's folder configures it:
//   Picture (decoded) -> apply(): RGB, as the model sees it -> write_patches(): (u8 / 255 - mean) / std, in patches
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "vlm/image/image.h"

namespace vlm2vec {

// A picture's patches: t slices of h rows of w columns. A picture that is cut has a slice for the whole, scaled to a
// tile, then one for each tile, row by row.
struct Grid {
  int t, h, w;
  int tile_rows = 0, tile_columns = 0;  // 0: not cut
  int seen_rows = 0, seen_columns = 0;  // of the tiles' patches, if those of the padding around count for nothing
  int patches() const { return t * h * w; }
  int tokens(int merge_size) const { return patches() / (merge_size * merge_size); }
  bool operator==(const Grid&) const = default;
};

// Calls visit(row, column) for every patch in the order of the model's rows: slice by slice, in blocks of merge x merge
// patches. A block becomes one token: (t, h / merge, w / merge, merge, merge).
template <class Visit>
void for_each_patch(const Grid& grid, int merge, Visit visit) {
  for (int t = 0; t < grid.t; ++t)
    for (int block_row = 0; block_row < grid.h; block_row += merge)
      for (int block_column = 0; block_column < grid.w; block_column += merge)
        for (int row = block_row; row < block_row + merge; ++row)
          for (int column = block_column; column < block_column + merge; ++column) visit(row, column);
}

// How the official code of a prompt prepares pictures (vlm/families/qwen_prompts.h).
enum class PictureRoute {
  own,                 // as the processor's file says
  qwen3_embedding,  // by qwen_vl_utils alone: transparency on white, 4,096 to 1,843,200 pixels
  gme,                 // first by GME's code, 4 to 16,384 tokens, then as the file says
};

struct PictureRule {
  int patch_size = 14;          // pixels; 0: the model says it, not the file
  int temporal_patch_size = 1;  // frames that a patch spans; a still picture is repeated
  int merge_size = 1;           // merge_size x merge_size patches become one token
  int picture_size = 0;         // side of every picture, or tile of one, in pixels; 0: sizes differ
  int num_crops = 0;            // most tiles that a picture is cut into, a choice of --num_crops; 0: there is none
  std::vector<Size> canvases;   // the sizes that tiles are cut from, in pixels; empty: all
  std::array<double, 3> mean = {0.48145466, 0.4578275, 0.40821073};  // CLIP's
  std::array<double, 3> std = {0.26862954, 0.26130258, 0.27577711};
  const char* processor_class = "";  // of transformers, for new files
  bool exif = false;                 // turn pictures upright first; the official code does not

  virtual ~PictureRule() = default;
  virtual Image apply(Picture picture) const = 0;
  // Everything that apply() depends on, except the picture: equal keys give equal pixels.
  virtual std::string key() const = 0;
  // Sets the bounds of a picture's area in pixels; 0: as the file says. Returns whether a bound has changed.
  // Throws Exit::usage, naming the file or the options, which begin with `option`.
  virtual bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file,
                           const std::string& option = "--resize_") = 0;
  // Sets VLM2Vec V1's --image_resolution. Returns a note for the user, perhaps empty.
  virtual std::string take_resolution(const std::string& word) = 0;
  // Returns this rule, with its options, for another route; null if it has none.
  virtual std::unique_ptr<PictureRule> along(PictureRoute) const { return nullptr; }
  virtual nlohmann::ordered_json settings() const = 0;  // the content of a preprocessor_config.json
  // That of a processor_config.json beside it, where transformers needs one.
  virtual nlohmann::ordered_json processor_settings() const;
  // Writes the bounds into a file's content, so that every version of transformers prepares pictures by this rule.
  // moved: the bounds differ from that file's.
  virtual void update(nlohmann::ordered_json& settings, bool moved) const = 0;

  int factor() const { return patch_size * merge_size; }  // side of a token in pixels
  int patch_values() const { return 3 * temporal_patch_size * patch_size * patch_size; }
  // Must be called with an image of apply().
  virtual Grid grid_of(const Image& image) const;
  // Returns the number of vectors, and so of tokens, that a picture becomes.
  virtual int tokens_of(const Grid& grid) const { return grid.tokens(merge_size); }
  // Writes [patches, 3, temporal_patch_size, patch_size, patch_size] to `out`, which may be a slice of a batch.
  virtual void write_patches(const Image& image, float* out) const;
  // Lays numbers of the patches, in the order of the model's rows, on the image: [rows, columns].
  struct Laid {
    int rows, columns;
    std::vector<float> values;
  };
  virtual Laid on_image(const Grid& grid, std::span<const float> of_patches) const;

 protected:
  std::array<std::array<float, 256>, 3> levels() const;  // the normalised values of a sample, by channel
  // Reads the fields that all image processors have: image_mean, image_std, and the steps that must not be left
  // out; `resample` must be bicubic or, where the rule knows it, bilinear. Throws Exit::data, without the file's name.
  void read_common(const nlohmann::json& settings, Filter* filter = nullptr);
};

}  // namespace vlm2vec
