// Pictures to patches as Qwen2-VL's image processor does it, bit for bit:
//   RGB -> resized to multiples of patch_size merge_size, the area within bounds -> (u8 / 255 - mean) / std -> patches
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "vlm/image/image.h"

namespace vlm2vec {

struct ProcessorConfig {
  int patch_size = 14;          // pixels
  int temporal_patch_size = 2;  // frames that a patch spans; a still picture is repeated
  int merge_size = 2;           // merge_size x merge_size patches become one token
  int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280;
  std::array<double, 3> mean = {0.48145466, 0.4578275, 0.40821073};  // CLIP's
  std::array<double, 3> std = {0.26862954, 0.26130258, 0.27577711};

  // 1d or 3d: what the model was trained with (positions.h), which only this program writes; empty: not said.
  std::string image_positions = "";
  // Of no file: V1's --image_resolution (high, mid, low or another word); empty: VLM2Vec V2, which converts first.
  std::string image_resolution = "";
  bool exif = false;  // turn pictures upright first; the official code does not

  int factor() const { return patch_size * merge_size; }  // pixels to a side of a token
  int patch_values() const { return 3 * temporal_patch_size * patch_size * patch_size; }

  // Reads either file of processor_file(). Errors: Exit::data, for anything but Qwen2-VL's processor.
  static ProcessorConfig read(const std::filesystem::path& file);
  static ProcessorConfig load(const std::filesystem::path& folder);  // what processor_file() says
  void save(const std::filesystem::path& folder) const;    // preprocessor_config.json, which all versions read
  std::string unlike(const ProcessorConfig& other) const;  // "3136 to 1003520 pixels, image_mean [...]": what differs
  bool operator==(const ProcessorConfig&) const = default;
};

// The folder's picture processor: processor_config.json if it has an image_processor (transformers 5 writes no other
// file), or preprocessor_config.json; empty if there is neither.
std::filesystem::path processor_file(const std::filesystem::path& folder);

// A folder's processor files, by name and content, as transformers 4 and 5 read them alike: all in
// preprocessor_config.json, and nothing nested in processor_config.json, from which 4.52 cannot make a processor.
// `known` are the files that are there, `used` is the name of the one that counts; moved: `config` has other bounds
// than that one; image_positions are the config's. Files that already have this form are not changed.
using TextFiles = std::map<std::string, std::string>;
TextFiles portable_processor_files(const TextFiles& known, const std::string& used, const ProcessorConfig& config,
                                   bool moved);

// A picture's patches: t temporal slices of h rows of w columns.
struct Grid {
  int t, h, w;
  int patches() const { return t * h * w; }
  int tokens(int merge_size) const { return patches() / (merge_size * merge_size); }
  bool operator==(const Grid&) const = default;
};

// visit(row, column) for every patch in the order of the model's rows: slice by slice, in blocks of merge x merge
// patches, which become one token: (t, h / merge, w / merge, merge, merge).
template <class Visit>
void for_each_patch(const Grid& grid, int merge, Visit visit) {
  for (int t = 0; t < grid.t; ++t)
    for (int block_row = 0; block_row < grid.h; block_row += merge)
      for (int block_column = 0; block_column < grid.w; block_column += merge)
        for (int row = block_row; row < block_row + merge; ++row)
          for (int column = block_column; column < block_column + merge; ++column) visit(row, column);
}

// The size that a picture is resized to: nearest multiples of the factor, scaled down or up where the area is out of
// bounds. VLM2Vec's rule: a side below the factor, or sides beyond 200 : 1, and the longer side is taken for both.
Size smart_resize(Size size, const ProcessorConfig& config);

// As RGB, in the size of smart_resize. Before that VLM2Vec resizes by itself: V2 to 56x56 what has a side below 28; V1,
// in the file's own mode, to 1344x1344 (high), 672x672 (mid) or 128x128 (low); with another word to 1344x1344 what has
// a side above it.
Image resize_for_model(Picture picture, const ProcessorConfig& config);

Grid grid_of(const Image& resized, const ProcessorConfig& config);

// Writes [patches, 3, temporal_patch_size, patch_size, patch_size] to `out`, which may be a slice of a batch.
void write_patches(const Image& resized, const ProcessorConfig& config, float* out);

}  // namespace vlm2vec
