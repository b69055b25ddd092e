// Qwen2.5-VL against transformers' numbers: tests/golden/qwen2_5_vl, or another folder of that layout.
#include "vlm/families/qwen2_5_vl.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "devices.h"
#include "golden.h"
#include "golden_loss.h"
#include "io/files.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "tiny_model.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

std::filesystem::path file(const std::string& name) { return golden("qwen2_5_vl") / name; }

EncoderInput input_of(const json& c) {
  EncoderInput input{c.at("text"), {}};
  for (const auto& image : c.value("images", json::array()))
    input.images.push_back(file("images/" + std::string(image)));
  return input;
}

EncoderOptions options_of(const json& c, Device device = Device::cpu) {
  if (!c.contains("limits")) return {.device = device};
  return {.device = device, .min_pixels = c.at("limits")[0], .max_pixels = c.at("limits")[1]};
}

std::unique_ptr<Encoder> model(const EncoderOptions& options = {}) { return load_encoder(file("tiny"), options); }

double limit_of(const std::string& stage) {
  if (stage == "pixel_values") return 0;
  if (stage == "embedding" || stage == "patch_embed") return 5e-6;
  return stage == "vision_merger" ? 1e-4 : stage.starts_with("vision") ? 3e-4 : 2e-4;
}

// What only the batch and the modules show: the order of windows, their borders, the embedded patches.
void check_windows(const Encoder& encoder, const EncoderInput& input, GoldenStages& stages) {
  const NoGrad no_grad;
  const TokenBatch batch = encoder.prepare({&input, 1});
  std::vector<int64_t> cells;
  const auto& placed = batch.placed_as<QwenPlacement>();
  for (size_t i = 0; i < size_t(placed.window_order.numel()); i += 4)
    cells.push_back(to_vector<int64_t>(placed.window_order)[i] / 4);
  const auto same = [&](const char* key, const std::vector<int64_t>& ours) {
    EXPECT_EQ(ours, to_vector<int64_t>(stages.expected.at(stages.prefix + key))) << key;
    stages.seen.insert(key);
  };
  same("window_index", cells);
  same("cu_window_seqlens", to_vector<int64_t>(placed.cu_windows));
  same("cu_seqlens", to_vector<int64_t>(placed.cu_patches));
  auto& tower = dynamic_cast<Qwen25Vl&>(*encoder.backbone).visual;
  stages.compare("patch_embed", tower.patch_embed(batch.patches).value());
}

// Returns the number of cases with pictures.
int check_forward(Device device) {
  const NamedTensors expected = load_safetensors(file("expected.safetensors"));
  int pictured = 0;
  for (const json& c : read_json(file("cases.json"))) {
    const std::string prefix = std::string(c.at("name")) + "/";
    SCOPED_TRACE(prefix);
    const auto encoder = model(options_of(c, device));
    const EncoderInput input = input_of(c);
    if (too_slow_for(device, encoder->prepare({&input, 1}))) continue;
    GoldenStages stages{expected, prefix, limit_of, c.at("positions") == "1d"};
    stages.compare_all(*encoder, input);
    if (!input.images.empty()) check_windows(*encoder, input, stages), ++pictured;
    stages.expect_all_seen();
    EncoderOptions bf16 = options_of(c, device);
    bf16.bf16 = true;
    EXPECT_GE(cosine(embed(*model(bf16), {&input, 1}, 1), expected.at(prefix + "embedding")), 0.999);
  }
  return pictured;
}

TEST(Qwen25VlGolden, forward) {
  NEEDS_GOLDEN("qwen2_5_vl")
  EXPECT_GE(check_forward(Device::cpu), 8);
}
TEST(Qwen25VlGolden, forward_on_devices) {
  NEEDS_GOLDEN("qwen2_5_vl")
  for (const Device device : kernel_devices()) EXPECT_GE(check_forward(device), 1) << name_of(device);
}

TEST(Qwen25VlGolden, batches_and_stored_bf16_give_the_same_bits) {
  NEEDS_GOLDEN("qwen2_5_vl")
  const TemporaryFolder folder("bf16");
  std::filesystem::copy(file("tiny"), folder.path());
  std::filesystem::copy_file(file("tiny_bf16/model.safetensors"), folder / "model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  std::vector<EncoderInput> inputs;
  for (const json& c : read_json(file("cases.json")))
    if (!c.contains("limits")) inputs.push_back(input_of(c));
  const auto vectors = [&](const std::filesystem::path& from, int64_t batch) {
    return to_vector<float>(embed(*load_encoder(from), inputs, batch));
  };
  const auto alone = vectors(file("tiny"), 1);
  EXPECT_EQ(vectors(file("tiny"), 64), alone);
  EXPECT_EQ(vectors(folder.path(), 5), alone);
}

TEST(Qwen25VlGolden, adapters_of_either_spelling) {
  NEEDS_GOLDEN("qwen2_5_vl")
  const NamedTensors expected = load_safetensors(file("adapters/expected.safetensors"));
  const json cases = read_json(file("cases.json"));
  const json adapters = read_json(file("adapters/adapters.json"));
  for (const auto& [name, facts] : adapters.items()) {
    SCOPED_TRACE(name);
    const auto encoder = model();
    std::vector<std::string> notes;
    const AttachedLora lora = load_adapter(*encoder->backbone, file("adapters/" + name), {}, nullptr, notes);
    for (const json& c : cases)
      if (const auto found = expected.find(name + "/" + std::string(c.at("name")) + "/embedding");
          found != expected.end()) {
        const EncoderInput input = input_of(c);
        const auto limited = c.contains("limits") ? model(options_of(c)) : nullptr;
        if (limited) load_adapter(*limited->backbone, file("adapters/" + name), {}, nullptr, notes);
        EXPECT_LE(distance(embed(limited ? *limited : *encoder, {&input, 1}, 1), found->second), 1e-5) << found->first;
      }
    size_t merged = 0;
    for (const Lora* adapter : lora.adapters)
      if (const auto found = expected.find(name + "/merged/" + adapter->base.path() + ".weight");
          found != expected.end()) {
        EXPECT_LE(distance(adapter->merged().rows(0, found->second.rows()), found->second), 1e-6) << found->first;
        ++merged;
      }
    EXPECT_GE(merged, 1u);
    EXPECT_EQ(lora.adapters.size(), size_t(facts.at("tensors")) / (name == "lora" ? 2 : 3)) << "A, B, and DoRA's m";
  }
}

void check_loss_and_gradients(Device device, std::vector<int64_t> chunks) {
  const GoldenLoss golden(file(""), 3e-4);
  const auto encoder = model({.device = device, .max_pixels = 1003520});
  std::vector<EncoderInput> queries, targets;
  for (const json& c : golden.all.at("queries")) queries.push_back(input_of(c));
  for (const json& c : golden.all.at("targets")) targets.push_back(input_of(c));
  golden.compare_embeddings(*encoder, queries, targets, {5e-6, 1e-4, 2e-6, 1e-4});
  for (const int64_t chunk : chunks)
    golden.compare_step(*encoder, encoder->backbone->parameters(), queries, targets, chunk, 1e-4);
}

TEST(Qwen25VlGolden, loss_and_gradients) {
  NEEDS_GOLDEN("qwen2_5_vl")
  check_loss_and_gradients(Device::cpu, {0, 3});
}
TEST(Qwen25VlGolden, loss_and_gradients_on_devices) {
  NEEDS_GOLDEN("qwen2_5_vl")
  for (const Device device : kernel_devices()) check_loss_and_gradients(device, {0});
}

}  // namespace
}  // namespace vlm2vec
