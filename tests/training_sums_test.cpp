// train --deterministic False: attention's backward multiplies less, and adds in any order.
#include "expect_error.h"
#include "kernels/emulator.h"
#include "kernels/kernels.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

class TrainingSums : public Trainer {
 protected:
  void TearDown() override { deterministic = true; }
  TrainOptions one_step(bool is_deterministic, const std::string& precision = "bf16") {
    TrainOptions o = options(is_deterministic ? "ordered" : "unordered");
    o.max_steps = 1, o.precision = precision, o.deterministic = is_deterministic;
    return o;
  }
  uint64_t products(bool is_deterministic) {
    const uint64_t before = emulator::matrix_products;
    train(one_step(is_deterministic), Device::emu, true);
    return emulator::matrix_products - before;
  }
};

TEST_F(TrainingSums, WithoutOrderTakeFewerProducts) {
  const uint64_t unordered = products(false), all = products(true);
  EXPECT_LT(unordered, all);
  EXPECT_TRUE(deterministic);  // of the last run
  const double ordered = log("ordered").at(0).at("grad_norm"), other = log("unordered").at(0).at("grad_norm");
  EXPECT_NEAR(other, ordered, 1e-2 * ordered);
}

TEST_F(TrainingSums, AlwaysHaveAnOrderOnTheCpuAndInF32) {
  expect_error("--deterministic False has no effect with --device cpu and --precision bf16; it needs --device cuda or ",
               [&] { train(one_step(false), Device::cpu, true); });
  expect_error("--deterministic False has no effect with --device emu and --precision f32",
               [&] { train(one_step(false, "f32"), Device::emu, true); });
}

}  // namespace
}  // namespace vlm2vec
