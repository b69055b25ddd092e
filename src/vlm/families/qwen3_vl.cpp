#include "vlm/families/qwen3_vl.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Those of transformers' Qwen3VLTextConfig, with the rope of the published models, and of Qwen3VLVisionConfig.
constexpr const char* kQwen3TextDefaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
  "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu",
  "rms_norm_eps": 1e-6, "rope_theta": 5e6, "mrope_section": [24, 20, 20], "initializer_range": 0.02,
  "image_token_id": 151655, "vision_start_token_id": 151652})";
constexpr const char* kQwen3VisionDefaults = R"({"depth": 27, "hidden_size": 1152, "hidden_act": "gelu_pytorch_tanh",
  "intermediate_size": 4304, "num_heads": 16, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
  "out_hidden_size": 3584, "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]})";

void read_qwen3_tower(const json& vision, QwenVisionConfig& v) {
  v.embed_dim = size_field(vision, "hidden_size", kMostWidth);
  v.hidden_size = size_field(vision, "out_hidden_size", kMostWidth);
  v.mlp_hidden = size_field(vision, "intermediate_size", kMostWidth);
  static const std::map<std::string, Activation> activations = {{"gelu_pytorch_tanh", Activation::gelu_tanh},
                                                                {"gelu", Activation::gelu},
                                                                {"quick_gelu", Activation::quick_gelu},
                                                                {"silu", Activation::silu}};
  const json& act = vision.at("hidden_act");
  const auto known = act.is_string() ? activations.find(act) : activations.end();
  if (known == activations.end())
    fail(Exit::data, "vision hidden_act is ", act, ", expected gelu_pytorch_tanh, gelu, quick_gelu or silu");
  v.activation = known->second;
  const int64_t positions = size_field(vision, "num_position_embeddings", kMostWidth);
  v.position_side = int(std::lround(std::sqrt(double(positions))));
  expect_config(int64_t(v.position_side) * v.position_side == positions, "num_position_embeddings must be a square");
  const json& deepstack = vision.at("deepstack_visual_indexes");
  for (const json& block : deepstack.get_ref<const json::array_t&>()) {
    if (!block.is_number_unsigned() || block >= v.depth || (!v.deepstack.empty() && block <= v.deepstack.back()))
      fail(Exit::data, "deepstack_visual_indexes is ", deepstack, ", expected rising numbers of the ", v.depth,
           " blocks");
    v.deepstack.push_back(block);
  }
}

// Sets, for every patch, the four learned positions around it and their bilinear shares. The picture's corners lie on
// those of the square.
void interpolate(QwenPlacement& placed, std::span<const Grid> grids, int side, int merge) {
  std::vector<int32_t> positions;
  std::vector<float> shares;
  struct Between {
    int below, above;
    float share;  // of the one above
  };
  const auto place = [side](int i, int n) {  // float32, as transformers 5 computes it
    const float at = float(i * (side - 1)) / float(std::max(1, n - 1));
    const int below = int(at);
    return Between{below, std::min(below + 1, side - 1), at - float(below)};
  };
  for (const Grid& grid : grids)
    for_each_patch(grid, merge, [&](int y, int x) {
      const Between r = place(y, grid.h), c = place(x, grid.w);
      for (const int row : {r.below, r.above})
        for (const int column : {c.below, c.above}) positions.push_back(row * side + column);
      for (const float of_row : {1 - r.share, r.share})
        for (const float of_column : {1 - c.share, c.share}) shares.push_back(of_row * of_column);
    });
  const Shape shape{int64_t(positions.size()) / 4, 4};
  placed.positions = from_vector(positions, shape), placed.shares = from_vector(shares, shape);
}

}  // namespace

Qwen3VisionMlp::Qwen3VisionMlp(Module* parent, std::string name, const QwenVisionConfig& c)
    : Module(parent, std::move(name)),
      activation(c.activation),
      linear_fc1{this, "linear_fc1", c.embed_dim, c.mlp_hidden, true},
      linear_fc2{this, "linear_fc2", c.mlp_hidden, c.embed_dim, true} {}

Qwen3PatchMerger::Qwen3PatchMerger(Module* parent, std::string name, const QwenVisionConfig& c, bool norm_of_cell)
    : Module(parent, std::move(name)),
      merged(c.embed_dim * c.spatial_merge_size * c.spatial_merge_size),
      norm{this, "norm", norm_of_cell ? merged : c.embed_dim, kQwenVisionEps},
      linear_fc1{this, "linear_fc1", merged, merged, true},
      linear_fc2{this, "linear_fc2", merged, c.hidden_size, true} {}

Var Qwen3PatchMerger::operator()(const Var& x) const {
  const Var cells = view(norm(view(x, {-1, norm.weight.shape()[0]})), {-1, merged});
  return linear_fc2(activate(linear_fc1(cells), Activation::gelu));
}

Qwen3VisionTower::Qwen3VisionTower(Module* parent, std::string name, const QwenVisionConfig& c)
    : Module(parent, std::move(name)),
      patch_embed{this, "patch_embed", c, true},
      pos_embed{this, "pos_embed", int64_t(c.position_side) * c.position_side, c.embed_dim},
      blocks{this, "blocks", c.depth, c},
      merger{this, "merger", c, false},
      deepstack_merger_list{this, "deepstack_merger_list", int64_t(c.deepstack.size()), c, true} {}

const TensorNames& Qwen3Vl::names() const {
  static const TensorNames names = [] {
    TensorNames n = qwen_names();
    n.prefixes = {{"language_model.", "model.language_model."}, {"visual.", "model.visual."}};  // from AutoModel
    n.nested = {};
    n.embedding = "model.language_model.embed_tokens.weight", n.image_encoder = "model.visual";
    return n;
  }();
  return names;
}

void Qwen3Vl::place(TokenBatch& batch, const Reading& reading) const {
  QwenVl::place(batch, reading);
  if (!batch.has_pictures()) return;
  auto& placed = batch.placed_as<QwenPlacement>();
  const QwenVisionConfig& v = config_.vision;
  interpolate(placed, batch.grids, v.position_side, v.spatial_merge_size);
  int32_t row = 0;
  for (size_t part = 0; part <= v.deepstack.size(); ++part) {
    std::vector<int32_t> rows(size_t(batch.image_rows.numel()));
    for (int32_t& next : rows) next = row++;
    placed.features.push_back(from_vector(rows));
  }
}

Var Qwen3Vl::see(const TokenBatch& batch, const Var& patches) {
  const auto& placed = batch.placed_as<QwenPlacement>();
  const RowScope rows(dropout, batch.seen_dropout_ids);  // of the mergers
  Var x = visual.patch_embed(patches);
  if (trace) trace("patch_embed", x.value());
  x = x + to(blend_rows(visual.pos_embed.weight, placed.positions, placed.shares), x.value().dtype());
  if (trace) trace("vision_input", x.value());
  std::vector<Var> features(1);
  for (size_t i = 0; i < visual.blocks.size(); ++i) {
    x = run_block(visual.blocks, i, x, batch);
    const size_t part = features.size() - 1;
    if (part == config_.vision.deepstack.size() || config_.vision.deepstack[part] != int(i)) continue;
    features.push_back(visual.deepstack_merger_list[part](x));
    if (trace) trace("deepstack_" + std::to_string(part), features.back().value());
  }
  features[0] = visual.merger(x);
  if (trace) trace("vision_merger", features[0].value());
  return concat_rows(features);
}

StageNote Qwen3Vl::describe(const std::string& stage, const TokenBatch& batch) {
  const QwenVisionConfig& v = config_.vision;
  if (stage == "patch_embed") return {"each patch as a vector"};
  if (stage == "vision_input")
    return {sentence("each patch has its position, interpolated between the learned ones of a square of ",
                     v.position_side, "x", v.position_side),
            count_parameters(visual.pos_embed),
            2.0 * double(batch.placed_as<QwenPlacement>().positions.numel() * v.embed_dim)};
  if (stage.starts_with("deepstack_")) {
    const size_t part = std::stoul(stage.substr(10));
    Module& merger = visual.deepstack_merger_list[part];
    const int64_t cells = batch.image_rows.numel();
    return {sentence("what block ", v.deepstack[part], " has seen, merged for the decoder as the last block's output"),
            count_parameters(merger), product_flops(merger, cells)};
  }
  if (stage.starts_with("hidden_deepstack_"))
    return {sentence("the features of deepstack_", stage.substr(17), " are added at the tokens of pictures")};
  return QwenVl::describe(stage, batch);
}

std::unique_ptr<Backbone> make_qwen3_vl(const json& config) {
  QwenVlConfig c = read_qwen_vl(config, kQwen3VisionDefaults, read_qwen3_tower, kQwen3TextDefaults);
  const json text = json_field(config, "text_config", json(json::object()));
  expect_config(!json_field(text, "attention_bias", false), "attention_bias must be false");
  expect_config(c.vision.deepstack.size() <= size_t(c.text.num_hidden_layers),
                "deepstack_visual_indexes must not be longer than num_hidden_layers");
  c.text.attention_bias = false, c.text.qk_norm = true, c.mrope_interleaved = true;
  return std::make_unique<Qwen3Vl>(std::move(c));
}

std::string portable_qwen3_vl(const std::string& config) {
  const ordered_json given = ordered_json::parse(config);
  ordered_json all = given;
  if (!has_value(all, "text_config") || !has_value(all["text_config"], "rope_parameters")) return config;
  ordered_json &text = all["text_config"], rope = text["rope_parameters"];
  text.erase("rope_parameters");
  if (rope.contains("rope_theta")) text["rope_theta"] = rope["rope_theta"], rope.erase("rope_theta");
  if (!has_value(text, "rope_scaling")) text["rope_scaling"] = rope;
  return all.dump(2) + "\n";
}

json tiny_qwen3_vl(int hidden) {
  json config = tiny_qwen_vl(hidden, "qwen3_vl"), text;
  for (const char* field : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                            "num_key_value_heads", "rms_norm_eps", "rope_theta", "vocab_size"}) {
    text[field] = config.at(field);
    config.erase(field);
  }
  config.erase("rope_scaling");
  text["head_dim"] = 12, text["rope_scaling"] = {{"mrope_section", {2, 2, 2}}};
  config["text_config"] = text;
  config["vision_config"].update({{"depth", 2},
                                  {"hidden_size", 16},
                                  {"out_hidden_size", hidden},
                                  {"intermediate_size", 24},
                                  {"num_position_embeddings", 9},
                                  {"deepstack_visual_indexes", {0}}});
  return config;
}

}  // namespace vlm2vec
