// The memory plan: what a dry run predicts is what training takes.
#include "cli_fixture.h"
#include "expect_error.h"
#include "tensor/host_memory.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

using Plan = Trainer;

TEST_F(Plan, PredictsThePeakOfEveryKindOfRun) {
  std::map<std::string, TrainOptions> runs = {
      {"full", options("full")}, {"lora", lora("lora")}, {"dora", dora("dora")}};
  for (const int64_t chunk : {1, 2, 5}) {
    const std::string name = "chunks of " + std::to_string(chunk);
    runs[name] = options(name), runs[name].gc_q_chunk_size = runs[name].gc_p_chunk_size = chunk;
  }
  runs["bf16"] = options("bf16"), runs["bf16"].precision = "bf16";
  runs["checkpointing"] = options("checkpointing"), runs["checkpointing"].gradient_checkpointing = true;
  runs["accumulation"] = options("accumulation"), runs["accumulation"].gradient_accumulation_steps = 3;
  std::set<int64_t> peaks;
  for (auto& [name, o] : runs) {
    o.max_steps = 4;
    const MemoryPlan plan = plan_training(o, Device::cpu);
    EXPECT_FALSE(fs::exists(o.output_dir));
    EXPECT_EQ(plan.weights + plan.masters + plan.gradients + plan.optimiser + plan.embeddings + plan.chunk, plan.peak);
    const TrainResult result = train(o, Device::cpu, true);
    EXPECT_EQ(result.planned_peak_bytes, plan.peak) << name;
    EXPECT_NEAR(double(plan.peak), double(result.peak_bytes), 0.05 * double(result.peak_bytes)) << name;
    peaks.insert(result.peak_bytes);
  }
  EXPECT_GE(peaks.size(), 7u);  // they differ, so that the prediction says something
}

TEST_F(Plan, LeavesNothingBehind) {
  const int64_t before = memory_statistics().live_bytes;
  const TrainOptions o = options("a");
  train(o, Device::cpu, true);
  plan_training(options("b"), Device::cpu);
  EXPECT_EQ(memory_statistics().live_bytes, before);
  EXPECT_FALSE(DryRun::on());
  train(options("c"), Device::cpu, true);
  EXPECT_EQ(file("a/model.safetensors"), file("c/model.safetensors"));
}

TEST_F(Plan, TooLittleMemoryIsSaidWithTheCure) {
  TrainOptions o = options("a");
  const MemoryPlan plan = plan_training(o, Device::cpu);
  plan.require(plan.peak, o);
  const int64_t rest = plan.peak - plan.chunk, row = plan.chunk / plan.chunk_rows;
  expect_error(Exit::resources, "lower --gc_q_chunk_size and --gc_p_chunk_size to 3, or less",
               [&] { plan.require(rest + 3 * row, o); });
  expect_error(Exit::resources, "lower --resize_max_pixels or --max_len", [&] { plan.require(rest + row / 2, o); });
  expect_error(Exit::resources, "train adapters with --lora True", [&] { plan.require(rest / 2, o); });
  o.lora = true;
  expect_error(Exit::resources, "take a smaller model", [&] { plan.require(rest / 2, o); });
}

TEST(HostMemory, is_some) {
  EXPECT_GT(available_memory(), int64_t(10) << 20);
  EXPECT_LT(available_memory(), int64_t(1) << 50);
  EXPECT_EQ(in_bytes(999), "999 B");
  EXPECT_EQ(in_bytes(1500), "1.5 kB");
  EXPECT_EQ(in_bytes(999'960), "1.0 MB");
  EXPECT_EQ(in_bytes(123'400'000'000), "123.4 GB");
}

TEST_F(Cli, PlanPrintsAndTrainsNothing) {
  make_model();
  const std::string command =
      "train --model_name model --dataset_name train --output_dir out --per_device_train_batch_size 4 --max_steps 1";
  const Result table = run(command + " --plan");
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_TRUE(has(table.out, "predicted peak")) << table.out;
  const Result json = run(command + " --plan --json");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const Result trained = run(command + " --json --quiet");
  EXPECT_EQ(Json::parse(json.out).at("predicted_peak"), Json::parse(trained.out).at("planned_peak_bytes"));
  EXPECT_EQ(Json::parse(json.out).at("predicted_peak"), Json::parse(trained.out).at("peak_bytes"));
}

}  // namespace
}  // namespace vlm2vec
