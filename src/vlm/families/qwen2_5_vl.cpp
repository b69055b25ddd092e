#include "vlm/families/qwen2_5_vl.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// Those of transformers' Qwen2_5_VLVisionConfig.
constexpr const char* kQwen25VisionDefaults = R"({"depth": 32, "hidden_size": 3584, "hidden_act": "silu",
  "intermediate_size": 3420, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
  "window_size": 112, "out_hidden_size": 3584, "fullatt_block_indexes": [7, 15, 23, 31]})";

void read_windows(const json& vision, QwenVisionConfig& v) {
  v.embed_dim = size_field(vision, "hidden_size", kMostWidth);
  v.hidden_size = size_field(vision, "out_hidden_size", kMostWidth);
  v.mlp_hidden = size_field(vision, "intermediate_size", kMostWidth);
  v.window_size = int(size_field(vision, "window_size", kMostWidth));
  if (vision["hidden_act"] != "silu")
    fail(Exit::data, "vision hidden_act is ", vision["hidden_act"], ", expected silu");
  expect_config(v.window_size >= v.patch_size * v.spatial_merge_size,
                "window_size must be at least patch_size times spatial_merge_size");
  const json& full = vision.at("fullatt_block_indexes");
  for (const json& block : full.get_ref<const json::array_t&>()) {
    if (!block.is_number_unsigned())
      fail(Exit::data, "fullatt_block_indexes is ", full, ", expected numbers of blocks");
    if (block < v.depth) v.full_blocks.push_back(block);  // a number without a block means nothing in transformers
  }
}

}  // namespace

Qwen25VisionMlp::Qwen25VisionMlp(Module* parent, std::string name, const QwenVisionConfig& c)
    : Module(parent, std::move(name)),
      gate_proj{this, "gate_proj", c.embed_dim, c.mlp_hidden, true},
      up_proj{this, "up_proj", c.embed_dim, c.mlp_hidden, true},
      down_proj{this, "down_proj", c.mlp_hidden, c.embed_dim, true} {}

void Qwen25Vl::place(TokenBatch& batch, const Reading& reading) const {
  QwenVlModel::place(batch, reading);
  if (!batch.has_pictures()) return;
  const QwenVisionConfig& v = config_.vision;
  const int merge = v.spatial_merge_size, patches_of_cell = merge * merge;
  const int window = v.window_size / (v.patch_size * merge);  // cells to a side
  std::vector<int32_t> cells, starts{0};                      // cells in the order of windows; first patch of each
  for (int32_t first = 0; const Grid& g : batch.grids)
    for (int frame = 0; frame < g.t; ++frame) {
      const int rows = g.h / merge, columns = g.w / merge;
      for (int top = 0; top < rows; top += window)
        for (int left = 0; left < columns; left += window) {
          for (int row = top; row < std::min(top + window, rows); ++row)
            for (int column = left; column < std::min(left + window, columns); ++column)
              cells.push_back(first + row * columns + column);
          starts.push_back(int32_t(cells.size()) * patches_of_cell);
        }
      first += rows * columns;
    }
  std::vector<int32_t> patches, back(cells.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    back[size_t(cells[i])] = int32_t(i);
    for (int p = 0; p < patches_of_cell; ++p) patches.push_back(cells[i] * patches_of_cell + p);
  }
  auto& placed = batch.placed_as<QwenPlacement>();
  placed.cu_windows = from_vector(starts);
  placed.window_order = from_vector(patches), placed.raster_order = from_vector(back);
  placed.patches = {gather_rows(placed.patches.cos, placed.window_order),
                    gather_rows(placed.patches.sin, placed.window_order)};
}

const Tensor& Qwen25Vl::sequences_of_block(size_t i, const QwenPlacement& placed) const {
  const bool full = std::ranges::find(config_.vision.full_blocks, int(i)) != config_.vision.full_blocks.end();
  return full ? placed.cu_patches : placed.cu_windows;
}

std::unique_ptr<Backbone> make_qwen2_5_vl(const json& config) {
  return std::make_unique<Qwen25Vl>(read_qwen_vl(config, kQwen25VisionDefaults, read_windows));
}

json tiny_qwen2_5_vl(int hidden) {
  json config = tiny_qwen_vl(hidden, "qwen2_5_vl");
  config["vision_config"].update({{"depth", 2},
                                  {"hidden_size", 16},
                                  {"out_hidden_size", hidden},
                                  {"intermediate_size", 24},
                                  {"window_size", 16},
                                  {"fullatt_block_indexes", {1}}});
  return config;
}

}  // namespace vlm2vec
