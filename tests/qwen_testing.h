// For tests of the Qwen-VL families: the parts of a folder, and the golden stages.
#pragma once
#include <set>

#include "golden_compare.h"
#include "tensor/tensor_files.h"
#include "vlm/encoder.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/image/smart_resize.h"
#include "vlm/processor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {

inline SmartResize rule_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = processor_file(folder);
  return dynamic_cast<const SmartResize&>(
      *read_processor_settings(file.empty() ? folder / "preprocessor_config.json" : file, families()[0]).rule);
}

inline QwenVlConfig qwen_config(const std::filesystem::path& file) {
  return dynamic_cast<const QwenVl&>(*make_backbone(file)).config();
}

// Compares the stages of a golden case with its tensors. Of most stages a part of the rows is stored.
struct GoldenStages {
  const NamedTensors& expected;
  std::string prefix;                            // of the case's tensors
  double (*limit_of)(const std::string& stage);  // the largest difference of a number
  bool counted = false;                          // the positions are 0, 1, 2, …
  std::set<std::string> seen = {};

  static std::string rows_key(const std::string& stage) {
    if (stage.starts_with("hidden")) return "hidden_rows";
    if (stage == "pixel_values") return "pixel_rows";
    return stage == "vision_merger" || stage.starts_with("deepstack") ? "merger_rows" : "vision_rows";
  }

  void compare(const std::string& stage, const Tensor& value) {
    seen.insert(stage);
    if (stage == "position_ids" && counted) {
      for (int64_t i = 0; i < value.numel(); ++i) EXPECT_EQ(value.data<int64_t>()[i], i % value.columns());
      return;
    }
    const Tensor reference = expected.at(prefix + stage);
    if (!is_float(value.dtype())) {
      EXPECT_EQ(to_vector<int64_t>(value), to_vector<int64_t>(reference)) << stage;
    } else {
      const bool whole = stage == "embedding";
      const Tensor rows = whole ? value : select(value, expected.at(prefix + rows_key(stage)));
      expect_within(stage, distance(rows, reference), limit_of(stage));
    }
  }

  // Also without a trace, which computes the last layer for the last row only.
  void compare_all(Encoder& encoder, const EncoderInput& input) {
    Tensor embedding;
    for (const auto& [stage, value, note, seconds] : stages_of(encoder, input).list) {
      EXPECT_FALSE(note.text.empty()) << stage;
      compare(stage, value);
      if (stage == "embedding") embedding = value;
    }
    const bool same_bits = encoder.backbone->parameters()[0]->value().device() != Device::cuda;
    EXPECT_LE(distance(embed(encoder, {&input, 1}, 1), embedding), same_bits ? 0 : 2e-6) << "without a trace";
  }

  void expect_all_seen() const {
    for (const auto& [key, tensor] : expected)
      if (key.starts_with(prefix) && !key.ends_with("_rows") && !key.ends_with("_bf16")) {
        EXPECT_TRUE(seen.contains(key.substr(prefix.size()))) << key << " was not compared";
      }
  }
};

}  // namespace vlm2vec
