// LoRA: the formula, what is trained, and PEFT folders there and back.
#include "nn/lora.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "temporary_folder.h"
#include "tensor/io/files.h"
#include "tensor/ops.h"

namespace vlm2vec {
namespace {

struct Block : Module {
  Block(Module* parent, std::string name)
      : Module(parent, std::move(name)), q_proj{this, "q_proj", 6, 4, true}, o_proj{this, "o_proj", 4, 6, false} {}
  Linear q_proj, o_proj;
  Var operator()(const Var& x) const { return x + o_proj(q_proj(x)); }
};
struct Model : Module {
  ModuleList<Block> blocks{this, "blocks", 2};
  Model() { initialise(*this, 0.5, 1, DType::f64, Device::cpu); }
  Var operator()(const Var& x) { return blocks[1](blocks[0](x)); }
};

Tensor normal(const Shape& shape, uint64_t seed) { return normal_tensor(shape, 1, seed, DType::f64, Device::cpu); }
std::vector<double> output(Model& model) { return to_vector<double>(model(Var(normal({5, 6}, 9))).value()); }
const LoraConfig kConfig{3, 12, 0, {"q_proj", "blocks.1.o_proj"}};

void fill(const AttachedLora& lora) {  // B = 0 would hide A
  for (size_t i = 0; i < lora.parameters().size(); ++i)
    lora.parameters()[i]->set(normal(lora.parameters()[i]->shape(), 20 + i));
}

TEST(Lora, adds_a_product_of_two_thin_matrices) {
  Model model;
  const Tensor x = normal({5, 6}, 9);
  const Linear& layer = model.blocks[0].q_proj;
  const Tensor plain = layer(x).value();
  const AttachedLora lora = attach_lora(model, kConfig, nullptr);
  ASSERT_EQ(lora.adapters.size(), 3u);
  EXPECT_TRUE(lora.unmatched_targets.empty());
  EXPECT_EQ(lora.parameters()[0]->path(), "blocks.0.q_proj.lora_A.weight");
  EXPECT_EQ(lora.parameters()[5]->path(), "blocks.1.o_proj.lora_B.weight");
  EXPECT_FALSE(model.blocks[0].o_proj.adapter);
  initialise_lora(lora, 5, DType::f64, Device::cpu);
  EXPECT_EQ(to_vector<double>(layer(x).value()), to_vector<double>(plain)) << "B = 0: nothing changes at first";
  fill(lora);
  const Tensor a = lora.parameters()[0]->value(), b = lora.parameters()[1]->value();
  const auto want = to_vector<double>(add(plain, scale(matmul(matmul(x, a, false, true), b, false, true), 12.0 / 3)));
  const auto got = to_vector<double>(layer(x).value());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-13);
  expect_error("blocks.0.q_proj: already has an adapter", [&] { attach_lora(model, kConfig, nullptr); });
}

TEST(Lora, starts_as_peft_does) {
  Model model;
  const AttachedLora lora = attach_lora(model, {100, 8, 0, {"q_proj"}}, nullptr);
  initialise_lora(lora, 5, DType::f64, Device::cpu);
  double squares = 0;
  for (double a : to_vector<double>(lora.parameters()[0]->value())) squares += a * a;
  EXPECT_NEAR(std::sqrt(squares / 600), 1.0 / 100, 0.001);  // N(0, 1/r²)
  for (double b : to_vector<double>(lora.parameters()[1]->value())) EXPECT_EQ(b, 0);
  EXPECT_NE(to_vector<double>(lora.parameters()[0]->value()), to_vector<double>(lora.parameters()[2]->value()));
}

TEST(Lora, trains_the_adapter_only) {
  Model model;
  const AttachedLora lora = attach_lora(model, kConfig, nullptr);
  fill(lora);
  const TrainedParameters trained(lora.parameters());
  mean(model(Var(normal({5, 6}, 9)))).backward();
  for (Parameter* p : model.parameters())
    EXPECT_EQ(p->trained(), p->path().find("lora_") != std::string::npos) << p->path();
  for (Parameter* p : lora.parameters()) {
    double size = 0;
    for (double g : to_vector<double>(static_cast<const Var&>(*p).grad())) size += std::abs(g);
    EXPECT_GT(size, 1e-4) << p->path();
  }
}

TEST(Lora, drops_out_by_row_and_layer) {
  Model model;
  DropoutState state;
  LoraConfig config = kConfig;
  config.dropout = 0.5;
  fill(attach_lora(model, config, &state));
  const auto plain = output(model);
  state.active = true, state.seed = 3;
  const auto keys = [](std::vector<int64_t> k) { return from_vector(k, {int64_t(k.size())}); };
  state.row_keys = keys({1, 2, 3, 4, 5});
  const auto dropped = output(model);
  EXPECT_NE(dropped, plain);
  EXPECT_EQ(dropped, output(model));
  // The mask follows the row's key: rows 1 and 2 alone
  state.row_keys = keys({2, 3});
  EXPECT_EQ(to_vector<double>(model(Var(normal({5, 6}, 9).rows(1, 3))).value()),
            std::vector<double>(dropped.begin() + 6, dropped.begin() + 18));
  state.row_keys = keys({1, 2, 3, 4, 5}), state.seed = 4;
  EXPECT_NE(output(model), dropped);
  // Two layers with one input draw different masks
  model.blocks[1].q_proj.weight.set(model.blocks[0].q_proj.weight.value());
  model.each_parameter([&](Parameter& p) {
    if (p.path().starts_with("blocks.1.q_proj.lora_A")) p.set(normal(p.shape(), 20));
    if (p.path().starts_with("blocks.1.q_proj.lora_B")) p.set(normal(p.shape(), 21));
  });
  const Var x(normal({5, 6}, 9));
  EXPECT_NE(to_vector<double>(model.blocks[0].q_proj(x).value()), to_vector<double>(model.blocks[1].q_proj(x).value()));
  state.active = false;
  EXPECT_EQ(to_vector<double>(model.blocks[0].q_proj(x).value()), to_vector<double>(model.blocks[1].q_proj(x).value()));
}

TEST(Lora, goes_to_a_peft_folder_and_back) {
  const TemporaryFolder folder("lora");
  Model model, other;
  const AttachedLora lora = attach_lora(model, {3, 12, 0.1, {"q_proj", "o_proj", "gate_proj"}}, nullptr);
  EXPECT_EQ(lora.unmatched_targets, std::vector<std::string>{"gate_proj"});
  fill(lora);
  save_adapter(lora, folder.path() / "adapter", "the/base");
  const auto config = read_json(folder.path() / "adapter" / "adapter_config.json");
  EXPECT_EQ(config.at("r"), 3);
  EXPECT_EQ(config.at("lora_alpha"), 12);
  EXPECT_EQ(config.at("base_model_name_or_path"), "the/base");
  EXPECT_TRUE(load_safetensors(folder.path() / "adapter" / "adapter_model.safetensors")
                  .contains("base_model.model.blocks.0.q_proj.lora_A.weight"));
  std::vector<std::string> notes;
  const AttachedLora read =
      load_adapter(other, folder.path() / "adapter", false, nullptr, DType::f64, Device::cpu, notes);
  EXPECT_EQ(read.config.dropout, 0.1);
  EXPECT_EQ(notes, std::vector<std::string>{"adapter: no layer is named gate_proj; ignored"});
  EXPECT_EQ(output(other), output(model));
}

TEST(Lora, refuses_adapters_it_would_get_wrong) {
  const TemporaryFolder folder("lora-errors");
  Model model;
  const AttachedLora lora = attach_lora(model, kConfig, nullptr);
  fill(lora);
  save_adapter(lora, folder.path(), "base");
  const auto config_file = folder.path() / "adapter_config.json", weights = folder.path() / "adapter_model.safetensors";
  const auto config = read_json(config_file);
  std::vector<std::string> notes;
  const auto load = [&](bool drop_dora = false) {
    Model fresh;
    load_adapter(fresh, folder.path(), drop_dora, nullptr, DType::f64, Device::cpu, notes);
  };
  const auto expect_refusal = [&](const std::string& sentence, const nlohmann::json& patch) {
    auto changed = config;
    changed.merge_patch(patch);
    write_json(config_file, changed);
    expect_error(Exit::data, config_file.string() + ": " + sentence, load);
    write_json(config_file, config);
  };
  expect_refusal("peft_type is \"IA3\", expected LORA", {{"peft_type", "IA3"}});
  expect_refusal("this is a DoRA adapter; --use_dora False", {{"use_dora", true}});
  expect_refusal("use_rslora is true", {{"use_rslora", true}});
  expect_refusal("rank_pattern is set", {{"rank_pattern", {{"q_proj", 4}}}});
  expect_refusal("bias is \"all\", expected none", {{"bias", "all"}});
  expect_refusal("target_modules is \"all-linear\", expected a list", {{"target_modules", "all-linear"}});
  expect_refusal("r is 0, expected at least 1", {{"r", 0}});
  expect_refusal("r, lora_alpha or target_modules is missing", {{"r", nullptr}});

  const NamedTensors stored = load_safetensors(weights);
  NamedTensors changed = stored;
  changed.erase("base_model.model.blocks.0.q_proj.lora_A.weight");
  save_safetensors(weights, changed);
  expect_error(Exit::data, "1 of 6 tensors are missing (blocks.0.q_proj.lora_A.weight, …), 0 are not used", load);
  changed = stored;
  const std::string magnitude = "base_model.model.blocks.0.q_proj.lora_magnitude_vector";
  changed.emplace(magnitude, normal({4}, 1));
  save_safetensors(weights, changed);
  expect_error(Exit::data, "0 of 6 tensors are missing, 1 are not used (blocks.0.q_proj.lora_magnitude_vector, …)",
               load);
  auto dora = config;
  dora["use_dora"] = true;
  write_json(config_file, dora);
  load(true);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("magnitude vectors are dropped"), std::string::npos);
  write_json(config_file, config);
  changed = stored;
  changed.at("base_model.model.blocks.0.q_proj.lora_A.weight") = normal({3, 7}, 1);
  save_safetensors(weights, changed);
  expect_error(Exit::data, "blocks.0.q_proj.lora_A.weight is f64[3, 7], this model wants [3, 6]", load);
  Model none;
  expect_error(Exit::usage, "none of the target modules names a layer", [&] {
    attach_lora(none, {3, 12, 0, {"proj"}}, nullptr);
  });
}

}  // namespace
}  // namespace vlm2vec
