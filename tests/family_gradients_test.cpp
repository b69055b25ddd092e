// The gradient of a contrastive step, of every family's tiny model in f64, against central differences.
#include <cmath>

#include "family_fixture.h"
#include "mmeb/training/grad_cache.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tensor/random.h"
#include "vlm/encoder.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

class FamilyGradients : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const Family& family = family_named(GetParam());
    write_json(folder_ / "config.json", family.tiny_config(16));
    const InputShape input = make_backbone(folder_ / "config.json")->input();
    const bool resizes = input.image_size == 0;
    write_picture_rule(*new_picture_rule(family, input, resizes ? 64 : 0, resizes ? 1024 : 0), folder_.path());
    write_tokenizer_json(folder_ / "tokenizer.json", train_bpe(std::vector<std::string>{"which thing is this?"}, 300));
    encoder_ = load_encoder(folder_.path(), {.f64 = true, .load_weights = false});
    initialise(*encoder_->backbone, 0.2, 7, DType::f64, Device::cpu);
    Random random(5);
    for (int i = 0; i < 3; ++i) {
      Image picture(16, 8 * (1 + i), 3);
      for (uint8_t& sample : picture.pixels) sample = uint8_t(random.below(256));
      const auto file = folder_ / (std::to_string(i) + ".png");
      write_png(file, picture);
      queries_.push_back({encoder_->image_token() + "\n" + std::to_string(i) + " which thing?", {file}});
      targets_.push_back({std::to_string(i) + " thing", {}});
    }
  }
  double step() {
    return item(contrastive_step(*encoder_, queries_, targets_, {.temperature = 0.2}).loss);
  }
  const TemporaryFolder folder_{"gradients"};
  std::unique_ptr<Encoder> encoder_;
  std::vector<EncoderInput> queries_, targets_;
};

TEST_P(FamilyGradients, are_those_of_differences) {
  const TrainedParameters parameters(encoder_->backbone->parameters());
  step();
  const auto gradient = to_vector<double>(parameters.gradients());
  double* const values = parameters.values().data<double>();
  constexpr double h = 1e-5;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const auto direction = to_vector<double>(
        normal_tensor({int64_t(gradient.size())}, 1, seed, DType::f64, Device::cpu));
    double slope = 0;
    for (size_t i = 0; i < gradient.size(); ++i) slope += gradient[i] * direction[i];
    const auto loss_at = [&](double way) {
      for (size_t i = 0; i < gradient.size(); ++i) values[i] += way * direction[i];
      const double loss = step();
      for (size_t i = 0; i < gradient.size(); ++i) values[i] -= way * direction[i];
      return loss;
    };
    const double difference = (loss_at(h) - loss_at(-h)) / (2 * h);
    EXPECT_GT(std::abs(slope), 1e-3);
    EXPECT_NEAR(difference / slope, 1, 1e-5) << "direction " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(, FamilyGradients, testing::ValuesIn(all_families()),
                         [](const auto& test) { return test_name(test.param); });

}  // namespace
}  // namespace vlm2vec
