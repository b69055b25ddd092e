// --learn_temperature: the gradient by log(1/τ), its step, and runs that train it.
#include <cmath>

#include "devices.h"
#include "expect_error.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/logit_scale.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

struct Step {
  double loss, scale_gradient;
};

// Seven targets of four queries, in chunks: the last three are hard negatives, and some do not count.
Step step_with(const TemporaryFolder& folder, const TinyPairs& pairs, double log_scale, Device device, bool f64,
               int64_t chunk) {
  const auto encoder = load_encoder(folder.path(), {.device = device, .f64 = f64});
  const Tensor labels = from_vector(std::vector<int32_t>{3, 1, 2, 0}, {4}),
               groups = from_vector(std::vector<int32_t>{0, 1, 0, 3, 1, 5, 0}, {7});
  ContrastiveOptions options{
      .temperature = std::exp(-log_scale), .query_chunk = chunk, .target_chunk = chunk, .matching = {labels, groups}};
  options.learn_temperature = true;
  const ContrastiveResult result = contrastive_step(*encoder, pairs.queries, pairs.targets, options);
  return {item(result.loss), item(result.scale_gradient)};
}

TEST(LearnedTemperature, has_the_gradient_of_differences) {
  const TemporaryFolder folder("temperature");
  write_tiny_model(folder.path());
  TinyPairs pairs = tiny_pairs(folder.path(), 7);
  pairs.queries.resize(4);
  const double at = std::log(1 / 0.2), h = 1e-4;
  const auto loss = [&](double log_scale) { return step_with(folder, pairs, log_scale, Device::cpu, true, 0).loss; };
  const double expected = (loss(at + h) - loss(at - h)) / (2 * h);
  ASSERT_GT(std::abs(expected), 1e-2);
  for (const int64_t chunk : {0, 1, 3}) {
    EXPECT_NEAR(step_with(folder, pairs, at, Device::cpu, true, chunk).scale_gradient / expected, 1, 1e-7) << chunk;
    EXPECT_NEAR(step_with(folder, pairs, at, Device::cpu, false, chunk).scale_gradient / expected, 1, 1e-4) << chunk;
  }
  for (const Device device : kernel_devices())
    EXPECT_NEAR(step_with(folder, pairs, at, device, false, 3).scale_gradient / expected, 1, 1e-4) << name_of(device);
}

// The last strip has six rows of the 1,030: without them the gradient would be off by more than the limit.
TEST(LearnedTemperature, sums_all_strips) {
  const TemporaryFolder folder("strips");
  write_tiny_model(folder.path());
  const TinyPairs pairs = tiny_pairs(folder.path(), 5);
  const auto encoder = load_encoder(folder.path());
  std::vector<EncoderInput> queries, targets;
  for (size_t i = 0; i < 1030; ++i) queries.push_back(pairs.queries[i % 5]), targets.push_back(pairs.targets[i % 5]);
  const auto step = [&](double log_scale) {
    ContrastiveOptions options{.temperature = std::exp(-log_scale), .query_chunk = 103, .target_chunk = 103};
    options.learn_temperature = true;
    return contrastive_step(*encoder, queries, targets, options);
  };
  const double h = 0.02, expected = (item(step(1 + h).loss) - item(step(1 - h).loss)) / (2 * h);
  ASSERT_GT(std::abs(expected), 0.02);
  EXPECT_NEAR(item(step(1).scale_gradient) / expected, 1, 2e-3);
}

TEST(LearnedTemperature, follows_adamw_up_to_its_limit) {
  LogitScale scale(0.05, {.weight_decay = 0.5});
  EXPECT_NEAR(scale.temperature(), 0.05, 1e-15);
  scale.step(-3, 0.1, 0.5);  // AdamW's first step has the length of the learning rate
  EXPECT_NEAR(std::log(1 / scale.temperature()), std::log(1 / 0.05) + 0.1, 1e-8);
  // The second, by the formula, with gradients −1.5 and 2.
  const double m = 0.9 * 0.1 * -1.5 + 0.1 * 2, v = 0.999 * 0.001 * 2.25 + 0.001 * 4;
  const double step = 0.1 * (m / (1 - 0.81)) / (std::sqrt(v / (1 - 0.999 * 0.999)) + 1e-8);
  scale.step(2, 0.1, 1);
  EXPECT_NEAR(std::log(1 / scale.temperature()), std::log(1 / 0.05) + 0.1 - step, 1e-8);
  LogitScale again(0.05, {.weight_decay = 0.5});
  again.restore(scale.state(), 2);
  for (LogitScale* each : {&scale, &again}) each->step(-1, 0.01, 1);
  EXPECT_EQ(scale.state(), again.state());
  scale.step(-1, 100, 1);
  EXPECT_NEAR(scale.temperature(), 0.01, 1e-15);
}

TEST_F(Trainer, learns_the_temperature_and_resumes_to_the_bit) {
  for (const std::string what : {"full", "bf16", "lora"}) {
    const auto make = [&](const std::string& name) {
      TrainOptions o = what == "lora" ? lora(name) : options(name);
      if (what == "bf16") o.precision = "bf16";
      o.learn_temperature = true, o.gradient_accumulation_steps = what == "full" ? 2 : 1;
      return o;
    };
    train(make("straight"), Device::cpu, true);
    TrainOptions o = make("broken");
    o.save_steps = 5;
    train(o, Device::cpu, true);
    fs::remove_all(folder_ / "broken/checkpoint-10");
    fs::remove(folder_ / "broken" / (what == "lora" ? "adapter_model.safetensors" : "model.safetensors"));
    o.resume_from = "auto";
    EXPECT_EQ(train(o, Device::cpu, true).steps, 7) << what;
    const auto a = log("straight"), b = log("broken");
    ASSERT_EQ(a.size(), 12u);
    for (size_t i = 0; i < a.size(); ++i)
      for (const char* field : {"loss", "grad_norm", "temperature"})
        EXPECT_EQ(a[i][field], b[i][field]) << what << ", step " << i + 1 << ", " << field;
    EXPECT_NEAR(a[0]["temperature"], 0.1, 1e-15);
    EXPECT_NE(a[11]["temperature"], a[3]["temperature"]);
    const json one = json::parse(file("straight/training_state.json")),
               two = json::parse(file("broken/training_state.json"));
    EXPECT_EQ(one.at("logit_scale"), two.at("logit_scale")) << what;
    EXPECT_EQ(one.at("temperature"), two.at("temperature")) << what;
    EXPECT_NE(one.at("temperature"), a[11]["temperature"]) << what;  // the last step has moved it
    for (const char* run : {"straight", "broken"}) fs::remove_all(folder_ / run);
  }
}

// With a warm-up the first step has no length: only its norm shows that the scale counts.
TEST_F(Trainer, counts_the_temperature_in_the_norm) {
  TrainOptions plain = options("plain"), learned = options("learned");
  plain.max_steps = learned.max_steps = 1, learned.learn_temperature = true;
  for (const TrainOptions& o : {plain, learned}) train(o, Device::cpu, true);
  const json without = log("plain").at(0), with = log("learned").at(0);
  EXPECT_EQ(without["loss"], with["loss"]);
  EXPECT_GT(with["grad_norm"].get<double>(), without["grad_norm"].get<double>());
  EXPECT_FALSE(json::parse(file("plain/training_state.json")).contains("temperature"));
}

TEST_F(Trainer, refuses_a_temperature_below_the_limit_and_a_damaged_scale) {
  TrainOptions o = options("run");
  o.learn_temperature = true, o.temperature = 0.005;
  expect_error(Exit::usage,
               "train: --temperature 0.005, expected 0.01 or more with --learn_temperature, which goes no lower",
               [&] { train(o, Device::cpu, true); });
  o.temperature = 0.01, o.save_steps = 5;
  train(o, Device::cpu, true);
  fs::remove_all(folder_ / "run/checkpoint-10");
  fs::remove(folder_ / "run/model.safetensors");
  json state = json::parse(file("run/checkpoint-5/training_state.json"));
  state.erase("logit_scale");
  write_text(folder_ / "run/checkpoint-5/training_state.json", state.dump());
  o.resume_from = "auto";
  expect_error(Exit::data, "logit_scale has 0 numbers, expected 3", [&] { train(o, Device::cpu, true); });
}

}  // namespace
}  // namespace vlm2vec
