// Modules, loading, the optimiser: against their definitions written out.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "expect_error.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

struct Layer : Module {
  Layer(Module* parent, std::string name, int64_t width)
      : Module(parent, std::move(name)),
        norm{this, "norm", width, 1e-6},
        up{this, "mlp.up", width, 2 * width, true},
        down{this, "mlp.down", 2 * width, width, false} {}
  RmsNorm norm;
  Linear up, down;
};
struct Model : Module {
  Embedding embed{this, "embed", 6, 4};
  ModuleList<Layer> layers{this, "model.layers", 2, int64_t(4)};
  LayerNorm post{this, "post", 4, 1e-6};
  const TensorNames& names() const override { return qwen_names(); }
};

const std::vector<std::string> kPaths = {"embed.weight",
                                         "model.layers.0.norm.weight",
                                         "model.layers.0.mlp.up.weight",
                                         "model.layers.0.mlp.up.bias",
                                         "model.layers.0.mlp.down.weight",
                                         "model.layers.1.norm.weight",
                                         "model.layers.1.mlp.up.weight",
                                         "model.layers.1.mlp.up.bias",
                                         "model.layers.1.mlp.down.weight",
                                         "post.weight",
                                         "post.bias"};

NamedTensors numbers_for(Module& module, DType dtype = DType::f32) {
  NamedTensors all;
  module.each_parameter(
      [&](Parameter& p) { all.emplace(p.path(), normal_tensor(p.shape(), 1, all.size(), dtype, Device::cpu)); });
  return all;
}

TEST(Modules, name_their_parameters_by_their_fields) {
  Model model;
  std::vector<std::string> paths;
  model.each_parameter([&](Parameter& p) { paths.push_back(p.path()); });
  EXPECT_EQ(paths, kPaths);
  EXPECT_EQ(model.parameters().size(), kPaths.size());
  EXPECT_EQ(model.layers[1].up.path(), "model.layers.1.mlp.up");
  EXPECT_EQ(model.layers[1].up.weight.shape(), (Shape{8, 4}));
  expect_error("embed.weight: used before it was loaded",
               [&] { model.embed(from_vector(std::vector<int32_t>{0}, {1})); });
}

TEST(Modules, forget_children_that_die) {
  Model model;
  {
    const Linear passing(&model, "passing", 2, 2, false);
    EXPECT_EQ(model.parameters().size(), kPaths.size() + 1);
  }
  EXPECT_EQ(model.parameters().size(), kPaths.size());
}

TEST(Loading, fills_every_parameter) {
  Model model, copy;
  const NamedTensors stored = numbers_for(model);
  EXPECT_TRUE(load_parameters(model, stored, {}, "x").empty());
  const NamedTensors state = state_dict(model);
  ASSERT_EQ(state.size(), stored.size());
  for (const auto& [name, t] : stored) EXPECT_EQ(to_vector<float>(state.at(name)), to_vector<float>(t)) << name;
  model.each_parameter([](Parameter& p) { EXPECT_FALSE(p.trained()); });
}

TEST(Loading, keeps_matrices_narrow_and_vectors_wide) {
  Model model;
  const NamedTensors stored = numbers_for(model, DType::bf16);
  load_parameters(model, stored, {}, "x");
  model.each_parameter(
      [](Parameter& p) { EXPECT_EQ(p.value().dtype(), p.is_matrix() ? DType::bf16 : DType::f32) << p.path(); });
  load_parameters(model, stored, {.dtype = DType::f64}, "x");
  model.each_parameter([](Parameter& p) { EXPECT_EQ(p.value().dtype(), DType::f64) << p.path(); });
}

TEST(Loading, is_strict) {
  Model model;
  NamedTensors stored = numbers_for(model);
  stored.erase("post.bias"), stored.erase("embed.weight");
  stored.emplace("lm_head.weight", stored.at("post.weight"));
  stored.emplace("post.biass", stored.at("post.weight"));
  expect_error(Exit::data,
               "file: the weights do not fit the model; missing: embed.weight, post.bias; not used: post.biass",
               [&] { load_parameters(model, stored, {}, "file"); });
  expect_error(Exit::data, "and 7 more; not used: none", [&] { load_parameters(model, {}, {}, "file"); });
  stored = numbers_for(model);
  stored.emplace("lm_head.weight", stored.at("post.weight"));
  stored.emplace("model.layers.0.self_attn.rotary_emb.inv_freq", stored.at("post.weight"));
  stored.emplace("model.layers.1.self_attn.rotary_emb.inv_freq", stored.at("post.weight"));
  EXPECT_EQ(load_parameters(model, stored, {}, "file"),
            (std::vector<std::string>{"lm_head.weight is not used: embeddings need no language-model head",
                                      "model.layers.0.self_attn.rotary_emb.inv_freq, "
                                      "model.layers.1.self_attn.rotary_emb.inv_freq are not used: rotary frequencies "
                                      "follow from config.json"}));
}

TEST(Loading, checks_shapes_and_types) {
  Model model;
  NamedTensors stored = numbers_for(model);
  Tensor& w = stored.at("model.layers.0.mlp.up.weight");
  w = w.view({8, 1, 2, 2});  // a convolution whose stride is its kernel
  load_parameters(model, stored, {}, "file");
  EXPECT_EQ(model.layers[0].up.weight.value().shape(), (Shape{8, 4}));
  w = w.view({4, 8});
  expect_error(Exit::data, "file: model.layers.0.mlp.up.weight is f32[4, 8], the configuration needs [8, 4]",
               [&] { load_parameters(model, stored, {}, "file"); });
  w = zeros({8, 4}, DType::i32, Device::cpu);
  expect_error(Exit::data, "is i32[8, 4]", [&] { load_parameters(model, stored, {}, "file"); });
}

TEST(Loading, knows_the_spellings_in_the_wild) {
  EXPECT_EQ(canonical_name("model.language_model.layers.0.x", qwen_names()), "model.layers.0.x");
  EXPECT_EQ(canonical_name("model.visual.blocks.0.x", qwen_names()), "visual.blocks.0.x");
  EXPECT_EQ(canonical_name("base_model.model.model.layers.0.x", qwen_names()), "model.layers.0.x");
  EXPECT_EQ(canonical_name("model.layers.0.x", qwen_names()), "model.layers.0.x");
  EXPECT_EQ(canonical_name("visual.model.visual.x", qwen_names()), "visual.model.visual.x");
  Model model;
  NamedTensors stored = numbers_for(model);
  stored.emplace("model.language_model.layers.0.norm.weight", stored.at("post.weight"));
  expect_error(Exit::data, "model.layers.0.norm.weight is stored twice",
               [&] { load_parameters(model, stored, {}, "file"); });
}

TEST(Initialise, draws_each_parameter_from_a_stream_of_its_own) {
  Model model, again, other;
  initialise(model, 0.02, 7, DType::f32, Device::cpu);
  initialise(again, 0.02, 7, DType::f32, Device::cpu);
  initialise(other, 0.02, 8, DType::f32, Device::cpu);
  const auto numbers = [](Module& m, const char* name) { return to_vector<double>(state_dict(m).at(name)); };
  EXPECT_EQ(numbers(model, "embed.weight"), numbers(again, "embed.weight"));
  EXPECT_NE(numbers(model, "embed.weight"), numbers(other, "embed.weight"));
  EXPECT_NE(numbers(model, "model.layers.0.mlp.up.weight"), numbers(model, "model.layers.1.mlp.up.weight"));
  EXPECT_EQ(numbers(model, "post.weight"), std::vector<double>(4, 1.0));
  EXPECT_EQ(numbers(model, "post.bias"), std::vector<double>(4, 0.0));
  EXPECT_EQ(numbers(model, "model.layers.0.mlp.up.bias"), std::vector<double>(8, 0.0));
  double sum = 0, squares = 0;
  for (double x : to_vector<double>(normal_tensor({100, 100}, 0.5, 3, DType::f32, Device::cpu)))
    sum += x, squares += x * x;
  EXPECT_NEAR(sum / 1e4, 0, 0.02);  // 4 standard deviations
  EXPECT_NEAR(std::sqrt(squares / 1e4), 0.5, 0.015);
}

// torch.optim.AdamW as its documentation writes it, in double.
class AdamWTest : public testing::TestWithParam<DType> {};

TEST_P(AdamWTest, follows_the_formula) {
  const DType dtype = GetParam();
  Model model;
  initialise(model, 0.5, 7, dtype, Device::cpu);
  const NamedTensors before = state_dict(model);
  const TrainedParameters trained(model.parameters());
  AdamW optimiser(trained, {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1});
  struct Reference {
    std::vector<double> p, m, v;
  };
  std::vector<Reference> reference;
  for (Parameter* p : model.parameters()) {
    EXPECT_TRUE(p->trained());
    EXPECT_EQ(to_vector<double>(p->value()), to_vector<double>(before.at(p->path())));
    reference.push_back({to_vector<double>(p->value()), std::vector<double>(size_t(numel(p->shape()))),
                         std::vector<double>(size_t(numel(p->shape())))});
  }
  for (int t = 1; t <= 4; ++t) {
    const double rate = 0.1 / t, clip = t == 3 ? 0.25 : 1;
    trained.clear_gradients();
    for (size_t n = 0; n < reference.size(); ++n) {
      const Parameter& p = *model.parameters()[n];
      const Var& w = p;
      const Tensor g = normal_tensor(p.shape(), 1, uint64_t(100 * t) + n, DType::f32, Device::cpu).to(dtype);
      add_to(g, w.grad());
      const auto numbers = to_vector<double>(g);
      Reference& r = reference[n];
      for (size_t i = 0; i < numbers.size(); ++i) {
        const double gradient = clip * numbers[i];
        if (p.is_matrix()) r.p[i] -= rate * 0.1 * r.p[i];
        r.m[i] = 0.8 * r.m[i] + 0.2 * gradient;
        r.v[i] = 0.95 * r.v[i] + 0.05 * gradient * gradient;
        const double m_hat = r.m[i] / (1 - std::pow(0.8, t)), v_hat = r.v[i] / (1 - std::pow(0.95, t));
        r.p[i] -= rate * m_hat / (std::sqrt(v_hat) + 1e-6);
      }
    }
    optimiser.step(rate, clip);
  }
  EXPECT_EQ(optimiser.steps(), 4);
  const double tolerance = dtype == DType::f64 ? 1e-14 : 3e-6;
  for (size_t n = 0; n < reference.size(); ++n) {
    const auto got = to_vector<double>(model.parameters()[n]->value());
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], reference[n].p[i], tolerance) << model.parameters()[n]->path() << ", element " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(, AdamWTest, testing::Values(DType::f32, DType::f64),
                         [](const auto& info) { return name_of(info.param); });

TEST(AdamWState, restored_continues_with_the_same_bits) {
  const auto run = [](bool interrupted) {
    Model model;
    initialise(model, 0.5, 7, DType::f32, Device::cpu);
    const TrainedParameters trained(model.parameters());
    auto optimiser = std::make_unique<AdamW>(trained, AdamWOptions{});
    for (int t = 0; t < 4; ++t) {
      trained.clear_gradients();
      add_to(normal_tensor(trained.gradients().shape(), 1, uint64_t(t), DType::f32, Device::cpu), trained.gradients());
      if (interrupted && t == 2) {
        auto fresh = std::make_unique<AdamW>(trained, AdamWOptions{});
        fresh->restore(optimiser->first_moment(), optimiser->second_moment(), optimiser->steps());
        optimiser = std::move(fresh);
      }
      optimiser->step(0.01, 1);
    }
    return to_vector<float>(trained.values());
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(TrainedParameters, are_views_of_one_buffer) {
  Model model;
  initialise(model, 0.5, 7, DType::bf16, Device::cpu);
  Linear& up = model.layers[0].up;
  const TrainedParameters trained({&up.weight, up.bias.get()});
  EXPECT_EQ(trained.values().dtype(), DType::f32);  // trained in f32, whatever they were stored in
  EXPECT_EQ(up.weight.value().raw(), trained.values().raw());
  EXPECT_FALSE(model.layers[1].up.weight.trained());
  mean(up(Var(normal_tensor({3, 4}, 1, 1, DType::f32, Device::cpu)))).backward();
  const auto flat = to_vector<double>(trained.gradients()),
             bias = to_vector<double>(static_cast<const Var&>(*up.bias).grad());
  EXPECT_NEAR(bias[0], 3.0 / 24, 1e-7);
  EXPECT_EQ(flat[size_t(trained.offset(1))], bias[0]);
  trained.clear_gradients();
  EXPECT_EQ(to_vector<double>(static_cast<const Var&>(*up.bias).grad())[0], 0);
  EXPECT_THROW(TrainedParameters({}), Error);
}

// 18 bytes for each number with AdamW's moments: 2 of the weight, 4 each of master, gradient and two moments.
TEST(TrainedParameters, in_bf16_are_the_rounding_of_their_masters) {
  Model model;
  initialise(model, 0.5, 7, DType::f32, Device::cpu);
  Linear& up = model.layers[0].up;
  const auto before = to_vector<float>(up.weight.value());
  const int64_t bytes = memory_statistics().live_bytes, stored = up.weight.value().bytes() + up.bias->value().bytes();
  TrainedParameters trained({&up.weight, up.bias.get()}, true);
  AdamW optimiser(trained, {});
  const int64_t n = trained.values().numel(), weights = up.weight.value().bytes() + up.bias->value().bytes();
  const int64_t table = 2 * 4 * 8;  // a row of kernel::adamw's for each
  EXPECT_EQ(memory_statistics().live_bytes - bytes, 16 * n + table + weights - stored);
  EXPECT_EQ(up.weight.value().dtype(), DType::bf16);
  EXPECT_EQ(up.weight.value().bytes(), 2 * up.weight.value().numel());
  EXPECT_EQ(up.bias->value().dtype(), DType::f32);
  const auto expect_rounded = [&] {
    for (size_t i = 0; i < 2; ++i) {
      const auto used = to_vector<float>(trained.parameters()[i]->value()), flat = to_vector<float>(trained.values());
      for (size_t j = 0; j < used.size(); ++j) EXPECT_EQ(used[j], float(bf16(flat[size_t(trained.offset(i)) + j])));
    }
  };
  EXPECT_EQ(to_vector<float>(trained.values())[3], before[3]);
  expect_rounded();
  mean(up(Var(normal_tensor({3, 4}, 1, 1, DType::f32, Device::cpu)))).backward();
  const Tensor gradient = static_cast<const Var&>(up.weight).grad();
  EXPECT_EQ(gradient.dtype(), DType::f32);
  EXPECT_GT(sum_of_squares(gradient), 0);
  optimiser.step(1e-4, 1);  // less than bf16 can show of most weights
  EXPECT_NE(to_vector<float>(trained.values())[3], before[3]);
  expect_rounded();
  const Tensor masters = scale(trained.values(), 2);
  trained.restore_masters(masters);
  EXPECT_EQ(to_vector<float>(trained.values()), to_vector<float>(masters));
  expect_rounded();
}

TEST(Clipping, is_torchs) {
  const Tensor g = from_vector(std::vector<double>{3, 0, -4}, {3});
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 10).norm, 5);
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 10).scale, 1);
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 2).scale, 2 / (5 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 0).scale, 1);  // off
  // The mean of 4 gradients whose sum is g
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 10, 0.25).norm, 1.25);
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 10, 0.25).scale, 0.25);
  EXPECT_DOUBLE_EQ(clip_gradients(sum_of_squares(g), 1, 0.25).scale, 0.25 / (1.25 + 1e-6));
}

// transformers/optimization.py: get_{linear,cosine,constant}_schedule_with_warmup.
TEST(Schedules, are_hugging_faces) {
  const auto factors = [](Schedule s) {
    std::vector<double> all;
    for (int64_t step = 0; step <= s.total_steps; ++step) all.push_back(s.factor(step));
    return all;
  };
  const auto expect = [](const std::vector<double>& got, const std::vector<double>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-15) << "step " << i;
  };
  expect(factors({Schedule::linear, 2, 6}), {0, 0.5, 1, 0.75, 0.5, 0.25, 0});
  expect(factors({Schedule::linear, 0, 4}), {1, 0.75, 0.5, 0.25, 0});
  expect(factors({Schedule::constant_with_warmup, 2, 4}), {0, 0.5, 1, 1, 1});
  expect(factors({Schedule::constant, 2, 4}), {1, 1, 1, 1, 1});
  const double r = std::numbers::sqrt2 / 2;
  expect(factors({Schedule::cosine, 2, 6}), {0, 0.5, 1, (1 + r) / 2, 0.5, (1 - r) / 2, 0});
  expect(factors({Schedule::linear, 3, 3}), {0, 1.0 / 3, 2.0 / 3, 0});
  EXPECT_EQ((Schedule{Schedule::linear, 1, 4}.factor(9)), 0);  // after the end
  EXPECT_EQ(parse_schedule("cosine"), Schedule::cosine);
  EXPECT_EQ(parse_schedule("constant_with_warmup"), Schedule::constant_with_warmup);
  expect_error(Exit::usage, "--lr_scheduler_type polynomial: expected linear", [] { parse_schedule("polynomial"); });
}

}  // namespace
}  // namespace vlm2vec
