// LoRA: the formula, what is trained, dropout.
#include "nn/lora.h"

#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "qwen_testing.h"
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
  lora.initialise(5);
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
  lora.initialise(5);
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
  const auto keys = [](std::vector<int64_t> k) { return from_vector(k); };
  static_assert(!std::is_constructible_v<RowScope, DropoutState&, Tensor>, "the rows must outlive the scope");
  expect_error("dropout outside a RowScope", [&] { output(model); });
  const Tensor five = keys({1, 2, 3, 4, 5}), two = keys({2, 3});
  const RowScope rows(state, five);
  const auto dropped = output(model);
  EXPECT_NE(dropped, plain);
  EXPECT_EQ(dropped, output(model));
  // The mask follows the row's key: rows 1 and 2 alone
  {
    const RowScope inner(state, two);
    EXPECT_EQ(to_vector<double>(model(Var(normal({5, 6}, 9).rows(1, 3))).value()),
              std::vector<double>(dropped.begin() + 6, dropped.begin() + 18));
    expect_error("2 dropout ids for", [&] { output(model); });
  }
  EXPECT_EQ(dropped, output(model)) << "the outer scope is back";
  state.seed = 4;
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

TEST(Lora, has_a_rank_and_an_alpha_for_each_layer) {
  Model model;
  LoraConfig config = kConfig;
  config.rank_pattern = {{"blocks.1.o_proj", 5}, {"o_pro.", 7}}, config.alpha_pattern = {{"[^o]_proj", 30}};
  AttachedLora lora = attach_lora(model, config, nullptr);
  EXPECT_EQ(lora.adapters[0]->rank, 3);
  EXPECT_EQ(lora.adapters[2]->rank, 5);  // the first that fits
  EXPECT_EQ(lora.adapters[0]->scaling, 10);
  EXPECT_EQ(lora.adapters[2]->scaling, 12 / 5.0);
  Model other;
  config.use_rslora = true;
  lora = attach_lora(other, config, nullptr);
  EXPECT_DOUBLE_EQ(lora.adapters[2]->scaling, 12 / std::sqrt(5.0));
}

TEST(Lora, targets_by_list_by_expression_or_all) {
  Model model;
  const auto layers = [&](const LoraConfig& config) {
    std::string paths;
    for (const Linear* layer : targeted_layers(model, config)) paths += layer->path() + " ";
    return paths;
  };
  LoraConfig config;
  config.target_modules = {"proj"};
  EXPECT_EQ(layers(config), "");
  config.target_modules = {"blocks.0.q_proj", "o_proj"};
  EXPECT_EQ(layers(config), "blocks.0.q_proj blocks.0.o_proj blocks.1.o_proj ");
  config.target_pattern = ".*[.]1[.].*";
  EXPECT_EQ(layers(config), "blocks.1.q_proj blocks.1.o_proj ");
  config.target_pattern = "q_proj";  // must fit the whole path
  EXPECT_EQ(layers(config), "");
  config.target_pattern = "all-linear";
  EXPECT_EQ(layers(config), "blocks.0.q_proj blocks.0.o_proj blocks.1.q_proj blocks.1.o_proj ");
  config.target_pattern = "(?:a|aa)+(";
  expect_error(Exit::data, "not a regular expression at character", [&] { layers(config); });
  config.target_pattern = R"(model\.language_model\.layers\.0\.self_attn\.(?P<which>q|k)_proj)";
  EXPECT_FALSE(config.targets("model.layers.0.self_attn.q_proj"));
  config.spelling = Spelling::hub, config.names = &qwen_names();
  EXPECT_TRUE(config.targets("model.layers.0.self_attn.q_proj"));
  expect_error(Exit::usage, "none of the target modules names a layer", [&] {
    attach_lora(model, {3, 12, 0, {"proj"}}, nullptr);
  });
}

TEST(Lora, gives_up_on_an_expression_that_would_take_for_ever) {
  LoraConfig config;
  config.target_pattern = R"((?:a|a)*\d)";
  expect_error(Exit::data, "cannot be matched", [&] { config.targets("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"); });
}

}  // namespace
}  // namespace vlm2vec
