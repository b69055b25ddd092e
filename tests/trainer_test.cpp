// Training as a whole: it learns, repeats bit for bit whatever the threads, trains what it is told to.
#include "mmeb/training/trainer.h"

#include <gtest/gtest.h>

#include "expect_error.h"
#include "io/files.h"
#include "kernels/emulator.h"
#include "mmeb/evaluation/evaluator.h"
#include "nn/peft.h"
#include "qwen_testing.h"
#include "tensor/parallel.h"
#include "tensor/tensor_files.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

// A test set of one row for the pictures of write_rows.
void write_test_rows(const fs::path& folder) {
  write_json(folder / "tasks.json",
             {{"datasets", {{{"name", "A"}, {"meta_task", "classification"}, {"split", "IND"}}}}});
  const json row = {{"qry_text", "<|image_1|>\nwhat is this?\n"},
                    {"qry_img_path", "images/A0.png"},
                    {"tgt_text", {"A thing 0", "A thing 1"}},
                    {"tgt_img_path", {"", ""}}};
  write_text(folder / "A/test.jsonl", row.dump() + "\n");
}

TEST_F(Trainer, learns) {
  TrainOptions o = options("learns");
  o.max_steps = 80;
  train(o, Device::cpu, true);
  const auto lines = log("learns");
  ASSERT_EQ(lines.size(), 80u);
  EXPECT_EQ(lines[0]["learning_rate"], 0.0);  // Hugging Face's warm-up
  EXPECT_LT(lines.back()["loss"].get<double>(), 0.6 * lines.front()["loss"].get<double>());
  EXPECT_EQ(json::parse(file("learns/config.json"))["torch_dtype"], "float32");
  EXPECT_EQ(load_encoder(folder_.path() / "learns")->dim(), 16);
}

TEST_F(Trainer, keeps_adapters_and_full_models_apart) {
  TrainOptions o = options("one"), adapter = lora("one");
  o.max_steps = adapter.max_steps = 1;
  train(o, Device::cpu, true);
  expect_error(Exit::usage, "holds the full model of another run", [&] { train(adapter, Device::cpu, true); });
  EXPECT_FALSE(fs::exists(folder_.path() / "one/adapter_model.safetensors"));
  adapter.output_dir = folder_.path() / "two", o.output_dir = folder_.path() / "two";
  train(adapter, Device::cpu, true);
  expect_error(Exit::usage, "holds the adapter of another run", [&] { train(o, Device::cpu, true); });
}

// With a model and batches so large that threads share the work: a matmul from 1.5 Mflop on, other ops from 2^14
// numbers on.
TEST_F(Trainer, any_number_of_threads_gives_the_same_bits) {
  constexpr int hidden = 128, pairs = 32;
  write_tiny_model(folder_.path() / "model", hidden);
  write_rows(folder_.path() / "data", pairs);
  const auto rows = read_train_rows(folder_.path() / "data/A/original.jsonl");
  const auto encoder = load_encoder(folder_.path() / "model");
  for (const bool query : {true, false}) {
    std::vector<EncoderInput> inputs;
    for (size_t i = 0; i < rows.size(); ++i)
      inputs.push_back(
          encoder_input(query ? rows[i].query : rows[i].positives[0], encoder->image_token(), folder_.path() / "data"));
    const int64_t tokens = encoder->prepare(inputs).ids.numel();
    EXPECT_GT(2.0 * double(tokens) * hidden * hidden, 1.5e6);
    EXPECT_GT(tokens * hidden, 1 << 14);
  }
  const int before = threads();
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    TrainOptions o = options(std::to_string(n));
    o.per_device_train_batch_size = pairs, o.max_steps = 3, o.warmup_steps = 0;
    train(o, Device::cpu, true);
    EXPECT_EQ(file(o.output_dir.substr(o.output_dir.rfind('/') + 1) + "/model.safetensors"),
              file("1/model.safetensors"));
  }
  set_threads(before);
}

// Rows of one answer only: all targets are equal, and a query's softmax has nothing but its own once they are masked.
TEST_F(Trainer, masks_duplicates_and_logs_their_share) {
  std::string rows;
  for (int i = 0; i < 4; ++i)
    rows +=
        json{{"qry", "what " + std::to_string(i)}, {"qry_image_path", ""}, {"pos_text", "Yes"}, {"pos_image_path", ""}}
            .dump() +
        "\n";
  write_text(folder_ / "yes.jsonl", rows);
  for (const bool mask : {false, true}) {
    TrainOptions o = options(mask ? "masked" : "plain");
    o.dataset_name = "", o.train_file = folder_ / "yes.jsonl", o.max_steps = 1, o.per_device_train_batch_size = 4;
    o.mask_duplicates = mask;
    train(o, Device::cpu, true);
  }
  EXPECT_NEAR(log("plain")[0]["loss"].get<double>(), std::log(4.0), 1e-5);
  EXPECT_NEAR(log("masked")[0]["loss"].get<double>(), 0, 1e-6);
  for (const char* run : {"plain", "masked"}) {
    EXPECT_EQ(log(run)[0]["duplicates"], 1.0);
    EXPECT_EQ(log(run)[0]["in_batch_accuracy"], 1.0);
  }
  TrainOptions o = options("none");
  o.max_steps = 1;
  train(o, Device::cpu, true);
  EXPECT_EQ(log("none")[0]["duplicates"], 0.0);
  EXPECT_EQ(json::parse(file("none/training_options.json"))["sampling"], "shuffled");
}

TEST_F(Trainer, lora_trains_only_adapters_and_says_what_it_ignores) {
  train(lora("lora"), Device::cpu, true);
  const json config = json::parse(file("lora/adapter_config.json"));
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_FALSE(fs::exists(folder_.path() / "lora/model.safetensors"));
  std::vector<std::string> notes;
  const auto encoder = load_encoder(folder_.path() / "model");
  const AttachedLora loaded = load_adapter(*encoder->backbone, folder_.path() / "lora", {}, nullptr, notes);
  EXPECT_EQ(loaded.adapters.size(), 2u * 7);
  EXPECT_EQ(notes, std::vector<std::string>{"adapter: 14 of 14 modules matched"});
}

TEST_F(Trainer, trains_dora_unless_told_otherwise) {
  TrainOptions o = options("default");
  o.lora = true, o.max_steps = 3, o.lora_dropout = 0;
  train(o, Device::cpu, true);
  const NamedTensors whole = load_safetensors(folder_ / "default/adapter_model.safetensors");
  EXPECT_EQ(whole.size(), 2u * 7 * 3);
  // GradCache, whose chunks share the norms of the step
  o.output_dir = folder_ / "chunks", o.gc_q_chunk_size = 2, o.gc_p_chunk_size = 1;
  train(o, Device::cpu, true);
  const auto all = log("default"), chunks = log("chunks");
  ASSERT_EQ(all.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(all[i]["loss"].get<double>(), chunks[i]["loss"].get<double>(), 1e-4);
  // From its own folder on, under the folder's own configuration
  o = options("further");
  o.adapter = folder_ / "default", o.max_steps = 1;
  train(o, Device::cpu, true);
  const json record = json::parse(file("further/training_options.json"));
  EXPECT_EQ(record["use_dora"], true);
  EXPECT_EQ(record["lora_r"], 16);
  EXPECT_EQ(load_safetensors(folder_ / "further/adapter_model.safetensors").size(), whole.size());
}

// The CPU has a fast path for everything that training and embedding need.
TEST_F(Trainer, never_emulates_on_the_cpu) {
  write_tiny_model(folder_.path() / "model", 16, DType::bf16);
  const auto launches = [](const auto& action) {
    const uint64_t before = emulator::launches;
    action();
    return emulator::launches - before;
  };
  TrainOptions o = lora("fast");
  o.gradient_checkpointing = true;
  EXPECT_EQ(launches([&] { train(o, Device::cpu, true); }), 0u) << "training adapters";
  EXPECT_EQ(launches([&] { train(dora("fast-dora"), Device::cpu, true); }), 0u) << "training DoRA";
  EXPECT_EQ(launches([&] { train(options("fast-full"), Device::cpu, true); }), 0u) << "training all weights";
  const auto emulated = load_encoder(folder_.path() / "model", {.device = Device::emu}),
             fast = load_encoder(folder_.path() / "model");
  const EncoderInput input{"<|image_pad|>\na red cat", {folder_ / "data/images/A3.png"}, 0};
  std::vector<float> a, b;
  EXPECT_GT(launches([&] { a = to_vector<float>(embed(*emulated, {&input, 1}, 1)); }), 0u);
  EXPECT_EQ(launches([&] { b = to_vector<float>(embed(*fast, {&input, 1}, 1)); }), 0u) << "embedding";
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
  write_test_rows(folder_ / "data");
  EvalOptions e;
  e.model_name = folder_ / "model", e.dataset_name = folder_ / "data", e.encode_output_path = folder_ / "scores";
  e.adapter = folder_ / "fast-dora";
  EXPECT_EQ(launches([&] { evaluate(e, Device::cpu, true); }), 0u) << "evaluating";
}

TEST_F(Trainer, wrong_usage_is_refused) {
  const auto code = [&](auto change) {
    TrainOptions o = options("wrong");
    change(o);
    try {
      train(o, Device::cpu, true);
    } catch (const Error& e) {
      return e.code;
    }
    return Exit::ok;
  };
  EXPECT_EQ(code([](TrainOptions& o) { o.train_file = "x.jsonl"; }), Exit::usage);
  EXPECT_EQ(code([](TrainOptions& o) { o.temperature = 0; }), Exit::usage);
  EXPECT_EQ(code([](TrainOptions& o) { o.lr_scheduler_type = "step"; }), Exit::usage);
  EXPECT_EQ(code([](TrainOptions& o) { o.dataset_name = "/nowhere"; }), Exit::data);
  EXPECT_EQ(code([](TrainOptions& o) { o.subset_name = {"C"}; }), Exit::usage);
  EXPECT_FALSE(fs::exists(folder_.path() / "wrong"));
}

TEST_F(Trainer, TheLogSaysWhereTheTimeOfAStepGoes) {
  train(lora("timed"), Device::cpu, true);
  double best = 0;  // of the steps: how much of the time the parts are. A busy machine may stop us between two parts
  for (const json& line : log("timed")) {
    double sum = 0;
    for (const char* part :
         {"data_seconds", "embed_seconds", "loss_seconds", "backward_seconds", "optimiser_seconds"}) {
      EXPECT_GT(line.at(part), 0.0) << part;
      sum += line.at(part).get<double>();
    }
    EXPECT_LE(sum, line.at("seconds"));
    best = std::max(best, sum / line.at("seconds").get<double>());
  }
  EXPECT_GE(best, 0.98);
}

}  // namespace
}  // namespace vlm2vec
