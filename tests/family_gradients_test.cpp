// The gradient of a contrastive step through a tiny model of every family, in f64, against central differences.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "mmeb/training/grad_cache.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "temporary_folder.h"
#include "tensor/random.h"
#include "vlm/encoder.h"
#include "vlm/families/family.h"
#include "vlm/image/image.h"
#include "vlm/processor_files.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

class FamilyGradients : public testing::TestWithParam<const Family*> {};

TEST_P(FamilyGradients, are_central_differences) {
  const Family& family = *GetParam();
  const TemporaryFolder folder("gradients");
  write_json(folder / "config.json", family.tiny_config(16));
  const InputShape input = make_backbone(folder / "config.json")->input();
  const bool resizes = input.image_size == 0;  // to different sizes
  write_picture_rule(*new_picture_rule(family, input, resizes ? 64 : 0, resizes ? 4096 : 0), folder.path());
  write_tokenizer_json(folder / "tokenizer.json", train_bpe(std::vector<std::string>{"which thing is this?"}, 300));
  const auto encoder = load_encoder(folder.path(), {.f64 = true, .load_weights = false});
  initialise(*encoder->backbone, 0.2, 1, DType::f64, Device::cpu);

  Random random(7);
  std::vector<EncoderInput> queries, targets;
  for (int i = 0; i < 3; ++i) {
    Image picture(8 * (1 + i), 16, 3);
    for (uint8_t& sample : picture.pixels) sample = uint8_t(random.below(256));
    const auto file = folder / (std::to_string(i) + ".png");
    write_png(file, picture);
    queries.push_back({encoder->image_token() + std::to_string(i) + " which thing is this?", {file}});
    targets.push_back({std::to_string(i) + " thing", {}});
  }
  const TrainedParameters trained(encoder->backbone->parameters());
  const auto loss = [&] { return item(contrastive_step(*encoder, queries, targets, {.temperature = 0.2}).loss); };
  loss();
  const auto gradient = to_vector<double>(trained.gradients());
  double* const values = trained.values().data<double>();
  for (int direction = 0; direction < 2; ++direction) {
    std::vector<double> along(gradient.size());
    double slope = 0;
    for (size_t i = 0; i < along.size(); ++i) along[i] = 0.1 * random.normal(), slope += along[i] * gradient[i];
    const auto moved = [&](double step) {
      for (size_t i = 0; i < along.size(); ++i) values[i] += step * along[i];
      const double y = loss();
      for (size_t i = 0; i < along.size(); ++i) values[i] -= step * along[i];
      return y;
    };
    constexpr double h = 1e-5;
    EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), slope, 1e-6 * std::max(1.0, std::abs(slope)));
    EXPECT_GT(std::abs(slope), 1e-3) << "says nothing";
  }
}

std::vector<const Family*> each_family() {
  std::vector<const Family*> all;
  for (const Family& family : families()) all.push_back(&family);
  return all;
}

INSTANTIATE_TEST_SUITE_P(, FamilyGradients, testing::ValuesIn(each_family()),
                         [](const auto& test) { return test.param->model_type; });

}  // namespace
}  // namespace vlm2vec
