// Each copy between host and device makes one wait for the other: a training step has few of them.
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

class DeviceTransfers : public Trainer {
 protected:
  // The transfers of one more step.
  Transfers of_a_step(const std::function<void(TrainOptions&)>& change) {
    const auto all = [&](int64_t steps) {
      TrainOptions o = lora("run" + std::to_string(steps));
      o.max_steps = steps, o.overwrite_output_dir = true, o.gc_q_chunk_size = o.gc_p_chunk_size = 0;
      change(o);
      const Transfers before = transfers();
      train(o, Device::emu, true);
      return Transfers{transfers().up - before.up, transfers().down - before.down};
    };
    const Transfers three = all(3), four = all(4);
    return {four.up - three.up, four.down - three.down};
  }
};

// Up: for each side its numbers and, with pictures, its patches; the batch's labels. Down: loss, norm and accuracy.
TEST_F(DeviceTransfers, go_up_with_a_batch_and_down_once_a_step) {
  const Transfers whole = of_a_step([](TrainOptions&) {});
  EXPECT_EQ(whole.up, 4);
  EXPECT_EQ(whole.down, 1);
  const Transfers dora = of_a_step([](TrainOptions& o) { o.use_dora = true; });
  EXPECT_EQ(dora.up, 4);
  EXPECT_EQ(dora.down, 1);
}

// GradCache sends each chunk again for its second pass, and reads no more.
TEST_F(DeviceTransfers, of_grad_cache_are_those_of_its_chunks) {
  const Transfers chunked = of_a_step([](TrainOptions& o) { o.gc_q_chunk_size = 3, o.gc_p_chunk_size = 6; });
  EXPECT_EQ(chunked.down, 1);
  EXPECT_LE(chunked.up, 2 * 2 * 2 + 2);
}

}  // namespace
}  // namespace vlm2vec
