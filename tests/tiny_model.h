// A Qwen2-VL of a few thousand parameters, in a folder of its own, with rows to train it on.
#pragma once
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "mmeb/data/dataset.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/random.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {

inline void write_tiny_model(const std::filesystem::path& folder, int hidden = 16, DType dtype = DType::f32) {
  std::filesystem::create_directories(folder);
  const nlohmann::json config = {{"architectures", {"Qwen2VLForConditionalGeneration"}},
                                 {"model_type", "qwen2_vl"},
                                 {"hidden_size", hidden},
                                 {"intermediate_size", 24},
                                 {"num_hidden_layers", 2},
                                 {"num_attention_heads", 2},
                                 {"num_key_value_heads", 1},
                                 {"hidden_act", "silu"},
                                 {"rms_norm_eps", 1e-6},
                                 {"rope_theta", 10000.0},
                                 {"rope_scaling", {{"type", "mrope"}, {"mrope_section", {hidden / 4 - 2, 1, 1}}}},
                                 {"tie_word_embeddings", true},
                                 {"vocab_size", 300},
                                 {"image_token_id", 1},
                                 {"initializer_range", 0.2},
                                 {"vision_config",
                                  {{"depth", 1},
                                   {"embed_dim", 16},
                                   {"hidden_size", hidden},
                                   {"num_heads", 2},
                                   {"mlp_ratio", 2},
                                   {"patch_size", 4},
                                   {"spatial_merge_size", 2},
                                   {"temporal_patch_size", 2},
                                   {"in_chans", 3}}}};
  write_json(folder / "config.json", config);
  SmartResize rule;
  rule.patch_size = 4, rule.min_pixels = 64, rule.max_pixels = 4096;
  write_picture_rule(rule, folder);
  const std::vector<std::string> texts = {"a red cat", "a blue dog", "find the picture of a cat", "what is this?"};
  write_tokenizer_json(folder / "tokenizer.json", train_bpe(texts, 300));
  const auto model = load_encoder(folder, {.load_weights = false});
  initialise(*model->backbone, 0.2, 1, dtype, Device::cpu);
  save_safetensors(folder / "model.safetensors", state_dict(*model->backbone));
}

inline Image plain_image(int width, int height, uint8_t gray) {
  Image image(width, height, 3);
  std::fill(image.pixels.begin(), image.pixels.end(), gray);
  return image;
}

// n pairs of texts and pictures of different sizes (files in `folder`), all different.
struct TinyPairs {
  std::vector<EncoderInput> queries, targets;
};
inline TinyPairs tiny_pairs(const std::filesystem::path& folder, int n) {
  TinyPairs pairs;
  for (int i = 0; i < n; ++i) {
    Image image(8 * (1 + i % 3), 8 * (1 + i % 2), 3);
    Random random{uint64_t(i)};
    for (uint8_t& sample : image.pixels) sample = uint8_t(random.below(256));
    const auto file = folder / ("picture" + std::to_string(i) + ".png");
    write_png(file, image);
    const bool picture_asks = i % 2 == 0;
    const EncoderInput picture{"<|image_pad|>\nwhat is this? " + std::to_string(i) + "\n", {file}, 0},
        text{"a red cat " + std::to_string(i), {}, 0};
    pairs.queries.push_back(picture_asks ? picture : text);
    pairs.targets.push_back(picture_asks ? text : picture);
    pairs.queries.back().dropout_id = uint64_t(2 * i), pairs.targets.back().dropout_id = uint64_t(2 * i + 1);
  }
  return pairs;
}

}  // namespace vlm2vec
