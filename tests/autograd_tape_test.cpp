// The tape: what it keeps, what it drops, and that gradients meet where they should.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

Tensor normal(const Shape& shape, uint64_t seed, DType dtype = DType::f64) {
  Random random(seed);
  std::vector<double> values(size_t(numel(shape)));
  for (double& value : values) value = random.normal();
  return from_vector(values, shape).to(dtype);
}
std::vector<double> numbers(const Tensor& x) { return to_vector<double>(x); }

TEST(Tape, adds_the_gradients_of_a_variable_used_twice) {
  const Var x = Var::leaf(normal({2, 3}, 1));
  const Var y = scale(x, 3) + x * x;
  mean(y).backward();
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(numbers(x.grad())[i], (3 + 2 * numbers(x.value())[i]) / 6, 1e-15);
}

TEST(Tape, backward_takes_a_seed_and_accumulates) {
  const Var x = Var::leaf(normal({2, 3}, 1));
  const Tensor seed = normal({2, 3}, 2), before = seed.clone();
  scale(x, 3).backward(seed);
  EXPECT_EQ(numbers(x.grad()), numbers(scale(seed, 3)));
  x.backward(seed);  // of a leaf: its own gradient
  scale(x, -1).backward(seed);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(numbers(x.grad())[i], 3 * numbers(seed)[i], 1e-14);
  EXPECT_EQ(numbers(seed), numbers(before)) << "the caller's seed was written into";
  EXPECT_THROW(scale(x, 3).backward(normal({3, 2}, 2)), Error);
}

TEST(Tape, writes_a_parameters_gradient_where_it_was_told) {
  const Tensor buffer = zeros({10, 1}, DType::f64, Device::cpu);
  const Var w = Var::leaf(normal({2, 3}, 1), buffer.rows(2, 8).view({2, 3})), x = Var::leaf(normal({4, 3}, 2));
  const auto step = [&] { (linear(x, w) + linear(x, w * w)).backward(); };  // a leaf formula, then an ordinary one
  step();
  const auto once = numbers(buffer);
  step();
  for (size_t i = 0; i < 10; ++i) EXPECT_NEAR(numbers(buffer)[i], 2 * once[i], 1e-13);
  for (size_t i : {0, 1, 8, 9}) EXPECT_EQ(once[i], 0);
  EXPECT_EQ(w.grad().data<double>(), buffer.data<double>() + 2);
  EXPECT_NE(once[2], 0);
}

// One gradient tensor may be handed to several variables: accumulating into one must not change the others.
TEST(Tape, keeps_gradients_apart_that_began_as_one) {
  const Var a = Var::leaf(normal({2, 2}, 1)), b = Var::leaf(normal({2, 2}, 2)), x = Var(normal({2, 2}, 3));
  const Tensor seed = normal({2, 2}, 4);
  const auto before = numbers(seed);
  const Var sum = a + b, product = linear(x, a);  // the backward meets the product first …
  (sum + product).backward(seed);
  EXPECT_EQ(numbers(b.grad()), before);
  const Var c = Var::leaf(normal({2, 2}, 1)), d = Var::leaf(normal({2, 2}, 2));
  const Var product_first = linear(x, c), sum_second = c + d;  // … or the sum, which hands one tensor to both
  (product_first + sum_second).backward(seed);
  EXPECT_EQ(numbers(d.grad()), before);
  EXPECT_EQ(numbers(c.grad()), numbers(a.grad()));
  EXPECT_EQ(numbers(seed), before);
}

TEST(Tape, gives_leaf_formulas_to_results_too) {  // linear's weight and gather's table may be results of other ops
  const Tensor A = normal({2, 3}, 1), X = normal({4, 3}, 2), seed = normal({4, 2}, 3);
  const Var a = Var::leaf(A), b = Var::leaf(A);
  linear(X, scale(a, 2)).backward(seed);
  linear(X, b).backward(seed);
  EXPECT_EQ(numbers(a.grad()), numbers(scale(b.grad(), 2)));
}

TEST(Tape, records_nothing_without_need) {
  const int64_t before = live_nodes();
  const Var x = Var(normal({2, 3}, 1)), w = Var::leaf(normal({2, 3}, 2));
  const Var y = x * x;
  EXPECT_FALSE(y.requires_grad());
  EXPECT_FALSE(w.detach().requires_grad());
  {
    const NoGrad outer;
    { const NoGrad inner; }
    EXPECT_FALSE((w * w).requires_grad());
  }
  EXPECT_EQ(live_nodes(), before + 1) << "only the leaf";
  EXPECT_TRUE((w * x).requires_grad());
  EXPECT_THROW(y.backward(), Error);
  EXPECT_THROW((w * x).grad(), Error);
}

TEST(Tape, is_gone_after_backward) {
  const Var x = Var::leaf(normal({2, 3}, 1));
  const int64_t nodes = live_nodes(), bytes = memory_statistics().live_bytes;
  {
    const Var y = mean(swiglu(x * x, scale(x, 2)));
    EXPECT_EQ(live_nodes(), nodes + 4);
    y.backward();
    EXPECT_EQ(live_nodes(), nodes + 1) << "only the result itself";
  }
  EXPECT_EQ(live_nodes(), nodes);
  EXPECT_EQ(memory_statistics().live_bytes, bytes + x.grad().bytes());
}

// A frozen layer's formula needs its weight, not its input: eight of them keep no more alive than one.
TEST(Tape, frozen_layers_keep_no_activation) {
  const int64_t n = 64, activation = n * n * 4;
  const auto w = normal({n, n}, 1, DType::f32);
  const auto kept = [&](const Var& weight) {
    const Var x = Var::leaf(normal({n, n}, 2, DType::f32));
    const int64_t before = memory_statistics().live_bytes;
    Var y = x;
    for (int i = 0; i < 8; ++i) y = linear(y, weight);
    return memory_statistics().live_bytes - before;
  };
  EXPECT_EQ(kept(Var(w)), activation);            // y
  EXPECT_EQ(kept(Var::leaf(w)), 8 * activation);  // y, and the inputs of seven layers; x is there anyway
}

TEST(Tape,
     backward_frees_as_it_goes) {  // its peak is the forward's memory and a few gradients, not twice the forward's
  const int64_t n = 64, activation = n * n * 4;
  const Var w = Var::leaf(normal({n, n}, 1, DType::f32)), x = Var::leaf(normal({n, n}, 2, DType::f32));
  Var y = x;
  for (int i = 0; i < 16; ++i) y = activate(linear(y, w), Activation::silu);
  const int64_t forward = memory_statistics().live_bytes;
  y = mean(y);
  reset_peak_bytes();
  y.backward();
  EXPECT_LE(memory_statistics().peak_bytes, forward + 5 * activation);
}

struct Block {
  Var w1 = Var::leaf(normal({24, 8}, 1)), w2 = Var::leaf(normal({8, 24}, 2));
  Var operator()(const Var& x) const { return x + linear(activate(linear(x, w1), Activation::gelu), w2); }
};

TEST(Checkpoint, equals_the_plain_computation_in_less_memory) {
  const Tensor X = normal({64, 8}, 3), seed = normal({64, 8}, 4);
  struct Run {
    std::vector<std::vector<double>> numbers;
    int64_t live;
  };
  const auto run = [&](bool checkpointed, bool x_is_trained) {
    const Block block;
    const Var x = x_is_trained ? Var::leaf(X) : Var(X);
    const int64_t before = memory_statistics().live_bytes;
    Var y = x;
    for (int i = 0; i < 4; ++i) y = checkpointed ? checkpoint(block, y) : block(y);
    const int64_t live = memory_statistics().live_bytes - before;
    y.backward(seed);
    std::vector<std::vector<double>> results{numbers(y.value()), numbers(block.w1.grad()), numbers(block.w2.grad())};
    if (x_is_trained) results.push_back(numbers(x.grad()));
    return Run{results, live};
  };
  for (const bool x_is_trained : {true, false}) {
    const Run plain = run(false, x_is_trained), lean = run(true, x_is_trained);
    EXPECT_EQ(plain.numbers, lean.numbers);
    EXPECT_EQ(lean.live, 4 * X.bytes()) << "the results of the four blocks";
    EXPECT_GT(plain.live, 4 * lean.live);
  }
}

TEST(Checkpoint, records_nothing_where_no_gradient_is_wanted) {
  const Block block;
  const Var frozen = Var(normal({8, 8}, 5)), x = Var(normal({3, 8}, 3));
  int runs = 0;
  const auto layer = [&](const Var& v) { return ++runs, linear(v, frozen); };
  const int64_t nodes = live_nodes();
  EXPECT_TRUE(checkpoint(block, x).requires_grad());
  EXPECT_FALSE(checkpoint(layer, x).requires_grad()) << "whatever another function met before";
  EXPECT_EQ(live_nodes(), nodes);
  mean(checkpoint(block, checkpoint(layer, x))).backward();
  EXPECT_EQ(runs, 2) << "once each";
  mean(checkpoint(layer, Var::leaf(x.value()))).backward();
  EXPECT_EQ(runs, 4) << "the input needs a gradient";
  const NoGrad no_grad;
  EXPECT_FALSE(checkpoint(block, x).requires_grad());
}

}  // namespace
}  // namespace vlm2vec
