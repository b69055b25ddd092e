// DoRA: equals the merged weight, its gradients with the norm held constant, dropout as PEFT has it, exact resumption
// of norms.
#include "nn/dora.h"

#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

constexpr int64_t kIn = 6, kOut = 4, kRank = 3;

struct Model : Module {
  Linear layer{this, "layer", kIn, kOut, true};
  explicit Model(DType dtype = DType::f64) {
    layer.weight.set(normal_tensor({kOut, kIn}, 0.5, 1, dtype, Device::cpu));
    layer.bias->set(normal_tensor({kOut}, 0.5, 2, dtype == DType::bf16 ? DType::f32 : dtype, Device::cpu));
  }
};

Tensor normal(const Shape& shape, uint64_t seed, DType dtype = DType::f64) {
  return normal_tensor(shape, 1, seed, dtype, Device::cpu);
}
const LoraConfig kConfig{.rank = int(kRank), .alpha = 6, .target_modules = {"layer"}, .use_dora = true};

void fill(const AttachedLora& dora, DType dtype = DType::f64) {
  uint64_t seed = 20;
  for (Parameter* p : dora.parameters()) p->set(normal(p->shape(), ++seed, dtype));
  dora.update();
}

// V = W + s·BA and the norms of its rows, by the formula.
struct Direct {
  std::vector<double> v, norms;
  Direct(const Lora& dora) {
    const auto w = to_vector<double>(dora.base.weight.value()), a = to_vector<double>(dora.lora_A.weight.value()),
               b = to_vector<double>(dora.lora_B.weight.value());
    for (size_t o = 0; o < kOut; ++o) {
      double squares = 0;
      for (size_t i = 0; i < kIn; ++i) {
        double sum = 0;
        for (size_t k = 0; k < kRank; ++k) sum += b[o * kRank + k] * a[k * kIn + i];
        v.push_back(w[o * kIn + i] + 2 * sum);
        squares += v.back() * v.back();
      }
      norms.push_back(std::sqrt(squares));
    }
  }
};

TEST(Dora, starts_as_the_layer_itself) {
  Model model;
  const Tensor x = normal({5, kIn}, 9), plain = model.layer(x).value();
  const AttachedLora dora = attach_lora(model, kConfig, nullptr);
  dora.initialise(3);
  const auto got = to_vector<double>(model.layer(x).value()), want = to_vector<double>(plain);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-14);
  std::vector<std::string> names;
  for (Parameter* p : dora.parameters()) names.push_back(p->path());
  EXPECT_EQ(names,
            (std::vector<std::string>{"layer.lora_magnitude_vector", "layer.lora_A.weight", "layer.lora_B.weight"}));
}

TEST(Dora, equals_the_merged_weight_and_leaves_the_bias) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    Model model(dtype);
    const DType wide = acc_of(dtype);
    const AttachedLora dora = attach_lora(model, kConfig, nullptr);
    fill(dora, wide);
    const Lora& adapter = *dora.adapters[0];
    const double tolerance = wide == DType::f64 ? 1e-13 : 3e-6;
    const Direct direct(adapter);
    const auto m = to_vector<double>(static_cast<const Dora&>(adapter).lora_magnitude_vector.value());
    const auto merged = to_vector<double>(adapter.merged());
    for (size_t i = 0; i < merged.size(); ++i)
      EXPECT_NEAR(merged[i], m[i / kIn] * direct.v[i] / direct.norms[i / kIn], tolerance) << name_of(dtype);
    const Tensor x = normal({5, kIn}, 9, wide);
    const auto got = to_vector<double>(model.layer(x).value()),
               want = to_vector<double>(matmul(x, adapter.merged(), false, true, model.layer.bias->value()));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 4 * tolerance) << name_of(dtype);
    double squares = 0;
    const auto w = to_vector<double>(model.layer.weight.value());
    for (size_t i = 0; i < w.size(); ++i) squares += (direct.v[i] - w[i]) * (direct.v[i] - w[i]);
    EXPECT_NEAR(adapter.delta_norm(), std::sqrt(squares), 10 * tolerance);
  }
}

// Central differences of a loss, the norms staying what they were: update() is not called.
TEST(Dora, gradients_hold_the_norm_constant) {
  for (const double probability : {0.0, 0.4}) {
    Model model;
    DropoutState dropout;
    dropout.active = true, dropout.seed = 7;
    const Tensor ids = from_vector(std::vector<int64_t>{4, 5, 6, 7, 8}, {5});
    const RowScope rows(dropout, ids);
    LoraConfig config = kConfig;
    config.dropout = probability;
    const AttachedLora dora = attach_lora(model, config, &dropout);
    fill(dora);
    const TrainedParameters trained(dora.parameters());
    const Var x = Var::leaf(normal({5, kIn}, 9));
    const Tensor weights = normal({5, kOut}, 10);
    const auto loss = [&] { return mean(model.layer(x) * Var(weights)); };
    loss().backward();
    const auto compare = [&](const Tensor& numbers, const Tensor& gradient, const std::string& name) {
      for (int64_t i = 0; i < numbers.numel(); ++i) {
        double& value = numbers.data<double>()[i];
        const double before = value, h = 1e-5;
        value = before + h;
        const double above = item(loss().value());
        value = before - h;
        const double below = item(loss().value());
        value = before;
        EXPECT_NEAR(gradient.data<double>()[i], (above - below) / (2 * h), 1e-9) << name << " " << i;
      }
    };
    for (Parameter* p : dora.parameters()) compare(p->value(), static_cast<const Var&>(*p).grad(), p->path());
    compare(x.value(), x.grad(), "x");
  }
}

// y = x Wᵀ + b + x' (W' − W)ᵀ with x' the dropped x, which the base's product is taken of once more (peft 0.15).
TEST(Dora, drops_the_input_of_both_products) {
  Model model;
  DropoutState dropout;
  LoraConfig config = kConfig;
  config.dropout = 0.5;
  const AttachedLora dora = attach_lora(model, config, &dropout);
  fill(dora);
  const Tensor x = normal({5, kIn}, 9), without = model.layer(x).value();
  dropout.active = true, dropout.seed = 3;
  const Tensor ids = from_vector(std::vector<int64_t>{1, 2, 3, 4, 5}, {5});
  const RowScope rows(dropout, ids);
  const Tensor rest = vlm2vec::dropout(x, ids, 0.5, mix(3, 0));
  const Tensor want =
      add(model.layer.plain(x).value(), add(matmul(rest, dora.adapters[0]->merged(), false, true),
                                            scale(matmul(rest, model.layer.weight.value(), false, true), -1)));
  const auto got = to_vector<double>(model.layer(x).value()), expected = to_vector<double>(want);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-13);
  EXPECT_NE(got, to_vector<double>(without));
}

// A bias of zeros changes no number, but then both products are computed apart.
TEST(Dora, few_rows_go_through_the_weight_once_with_the_same_bits) {
  struct Wide : Module {
    Linear layer;
    explicit Wide(bool apart) : layer(this, "layer", 32, 48, apart) {
      layer.weight.set(normal({48, 32}, 1, DType::f32));
      if (apart) layer.bias->set(zeros({48}, DType::f32, Device::cpu));
    }
  };
  const auto run = [](int64_t count, bool apart, bool bf16) {
    Wide model(apart);
    if (bf16) model.set_precision(Precision::bf16_products);
    DropoutState dropout{.active = true, .seed = 7};
    LoraConfig config = kConfig;
    config.dropout = 0.3;
    const AttachedLora dora = attach_lora(model, config, &dropout);
    fill(dora, DType::f32);
    const TrainedParameters trained(dora.parameters());
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < count; ++i) numbers.push_back(i);
    const Tensor ids = from_vector(numbers, {count});
    const RowScope rows(dropout, ids);
    const Var x = Var::leaf(normal({count, 32}, 9, DType::f32));
    const int64_t before = live_nodes();
    const Var y = model.layer(x);
    const int64_t nodes = live_nodes() - before;
    std::vector<float> all = to_vector<float>(y.value());
    mean(y * Var(normal({count, 48}, 10, DType::f32))).backward();
    for (const Tensor& t : {trained.gradients(), x.grad()})
      for (const float g : to_vector<float>(t)) all.push_back(g);
    return std::pair(all, nodes);
  };
  for (const bool bf16 : {false, true})
    for (const int64_t count : {1, 5, 19, 20}) {  // up to 32 · 48 / (32 + 48) rows are stacked
      const auto [stacked, nodes] = run(count, false, bf16);
      const auto [apart, more] = run(count, true, bf16);
      EXPECT_TRUE(stacked == apart) << count;
      EXPECT_EQ(more - nodes, count <= 19 ? 1 : 0) << count;
    }
}

TEST(Dora, computes_norms_when_told_and_not_while_embedding) {
  Model model;
  const AttachedLora dora = attach_lora(model, kConfig, nullptr);
  for (Parameter* p : dora.parameters()) p->set(normal(p->shape(), 20));
  const Tensor x = normal({5, kIn}, 9);
  expect_error("layer: DoRA is used before update()", [&] { model.layer(x); });
  dora.update();
  const auto before = to_vector<double>(model.layer(x).value());
  dora.adapters[0]->lora_B.weight.set(zeros({kOut, kRank}, DType::f64, Device::cpu));
  const auto stale = to_vector<double>(model.layer(x).value());
  dora.update();
  EXPECT_NE(stale, before);
  EXPECT_NE(stale, to_vector<double>(model.layer(x).value()));
}

TEST(Dora, magnitudes_decay_as_in_the_trainer_of_hugging_face) {
  Model model;
  const AttachedLora dora = attach_lora(model, kConfig, nullptr);
  fill(dora);
  const TrainedParameters trained(dora.parameters());
  for (const Parameter* p : dora.parameters()) {
    const double before = to_vector<double>(p->value())[0];
    trained.clear_gradients();
    AdamW(trained, {.weight_decay = 0.5}).step(0.1, 1);
    EXPECT_NEAR(to_vector<double>(p->value())[0], 0.95 * before, 1e-12) << p->path();
  }
}

// Also if BA takes away nearly all of W, where ‖V‖² is a small difference of large numbers.
TEST(Dora, norms_survive_cancellation) {
  Model model;
  const AttachedLora dora = attach_lora(model, kConfig, nullptr);
  for (Parameter* p : dora.parameters()) p->set(normal(p->shape(), 20));
  Lora& adapter = *dora.adapters[0];
  const Tensor delta = scale(matmul(adapter.lora_B.weight.value(), adapter.lora_A.weight.value()), 2);
  model.layer.weight.set(add(scale(delta, -1), scale(normal({kOut, kIn}, 77), 1e-3)));
  dora.update();
  const Direct direct(adapter);
  const auto m = to_vector<double>(static_cast<const Dora&>(adapter).lora_magnitude_vector.value());
  const auto merged = to_vector<double>(adapter.merged());
  for (size_t i = 0; i < merged.size(); ++i)
    EXPECT_NEAR(merged[i], m[i / kIn] * direct.v[i] / direct.norms[i / kIn], 1e-8 * std::abs(m[i / kIn]));
}

}  // namespace
}  // namespace vlm2vec
