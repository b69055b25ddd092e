// Runs that stop and go on: exactly where they were, with what they were begun with, and nothing of them is lost.
#include <csignal>
#include <fstream>
#include <thread>

#include "expect_error.h"
#include "tensor/ops.h"
#include "tensor/tensor_files.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

TrainOptions trained(TrainOptions o, int64_t save_steps) {
  o.save_steps = save_steps;
  train(o, Device::cpu, true);
  return o;
}

TEST_F(Trainer, resumes_bit_for_bit) {
  for (const std::string what : {"full", "lora", "dora"}) {
    const auto make = [&](const std::string& name) {
      return what == "full" ? options(name) : what == "lora" ? lora(name) : dora(name);
    };
    const std::string weights = what == "full" ? "/model.safetensors" : "/adapter_model.safetensors";
    train(make("straight"), Device::cpu, true);
    TrainOptions o = make("broken");
    o.save_steps = 5;
    train(o, Device::cpu, true);
    fs::remove_all(folder_.path() / "broken/checkpoint-10");
    fs::remove(folder_.path() / ("broken" + weights));
    o.resume_from = "auto";
    EXPECT_EQ(train(o, Device::cpu, true).steps, 7);
    EXPECT_EQ(file("straight" + weights), file("broken" + weights));
    const auto a = log("straight"), b = log("broken");
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]["loss"], b[i]["loss"]) << "step " << i + 1;
    for (const char* run : {"straight", "broken"}) fs::remove_all(folder_.path() / run);
  }
}

// Whatever draws the rows, with negatives and several positives, in batches that do not divide an epoch.
TEST_F(Trainer, resumes_bit_for_bit_with_each_sampling) {
  for (const char* set : {"A", "B"}) {
    const fs::path rows = folder_ / "data" / set / "original.jsonl";
    std::istringstream lines(read_text(rows));
    std::string text;
    for (std::string line; std::getline(lines, line);) {
      json row = json::parse(line);
      row["pos_text"] = {row["pos_text"], "something " + row["pos_text"].get<std::string>()};
      row["pos_image_path"] = {"", ""};
      row["neg_text"] = {"no thing", "nothing", "not this"}, row["neg_image_path"] = {"", "", ""};
      text += row.dump() + "\n";
    }
    write_text(rows, text);
  }
  for (const std::string sampling : {"shuffled", "interleaved", "balanced"}) {
    const auto make = [&](const std::string& name) {
      TrainOptions o = options(name);
      o.sampling = sampling, o.per_device_train_batch_size = 5, o.num_hardneg = 2, o.mask_duplicates = true;
      o.homogeneous_batch_size_per_device = sampling == "interleaved" ? 2 : 0;
      return o;
    };
    train(make("straight"), Device::cpu, true);
    TrainOptions o = make("broken");
    o.save_steps = 7;
    train(o, Device::cpu, true);
    fs::remove(folder_ / "broken/model.safetensors");
    o.resume_from = "auto";
    EXPECT_EQ(train(o, Device::cpu, true).steps, 5);
    EXPECT_EQ(file("straight/model.safetensors"), file("broken/model.safetensors")) << sampling;
    for (const char* run : {"straight", "broken"}) fs::remove_all(folder_ / run);
  }
}

// A run that the user stops when its log has `lines` lines or some more, but not those of a run of `max_steps` before
// it.
TrainResult stopped_after(std::ptrdiff_t lines, const TrainOptions& o) {
  std::signal(SIGINT, SIG_DFL);  // which a shell's background job ignores
  const std::jthread user([&](const std::stop_token& over) {
    const auto begun = [&] {
      std::ifstream log(fs::path(o.output_dir) / "log.jsonl");
      const std::ptrdiff_t n = std::count(std::istreambuf_iterator<char>(log), {}, '\n');
      return lines <= n && n < o.max_steps;
    };
    while (!begun() && !over.stop_requested()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!over.stop_requested()) std::raise(SIGINT);
  });
  return train(o, Device::cpu, true);
}

TEST_F(Trainer, saves_at_ctrl_c_and_goes_on_bit_for_bit) {
  TrainOptions o = lora("straight");
  o.max_steps = 60;
  train(o, Device::cpu, true);
  o.output_dir = folder_ / "stopped";
  const TrainResult first = stopped_after(2, o);
  EXPECT_TRUE(first.interrupted);
  EXPECT_GE(first.steps, 2);
  ASSERT_LT(first.steps, o.max_steps);
  EXPECT_EQ(int64_t(log("stopped").size()), first.steps);
  EXPECT_TRUE(fs::is_directory(folder_ / ("stopped/checkpoint-" + std::to_string(first.steps))));
  EXPECT_FALSE(fs::exists(folder_ / "stopped/adapter_model.safetensors"));
  o.resume_from = "auto";
  const TrainResult rest = train(o, Device::cpu, true);
  EXPECT_FALSE(rest.interrupted);
  EXPECT_EQ(rest.steps, o.max_steps - first.steps);
  EXPECT_EQ(file("stopped/adapter_model.safetensors"), file("straight/adapter_model.safetensors"));
}

TEST_F(Trainer, a_finished_run_that_is_trained_on_from_a_checkpoint_is_not_finished) {
  TrainOptions o = lora("run");
  o.max_steps = 60, o.save_steps = 30;
  train(o, Device::cpu, true);
  const std::string weights = file("run/adapter_model.safetensors");
  fs::remove_all(folder_ / "run/checkpoint-60");
  o.resume_from = "30";
  TrainOptions refused = o;
  refused.freeze = {"nosuch"};
  EXPECT_THROW(train(refused, Device::cpu, true), Error);
  EXPECT_TRUE(fs::exists(folder_ / "run/training_state.json"));
  const TrainResult first = stopped_after(32, o);
  ASSERT_TRUE(first.interrupted);
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 30 - first.steps);
  EXPECT_EQ(file("run/adapter_model.safetensors"), weights);
}

TEST_F(Trainer, a_finished_run_is_neither_trained_again_nor_overwritten) {
  TrainOptions o = options("run");
  o.max_steps = 3;
  EXPECT_EQ(train(o, Device::cpu, true).steps, 3);
  const std::string weights = file("run/model.safetensors");
  expect_error(Exit::usage,
               "has the weights of an earlier run; continue it with --resume_from auto, replace it with "
               "--overwrite_output_dir True",
               [&] { train(o, Device::cpu, true); });
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 0);
  o.seed = 7;
  expect_error(Exit::usage, "was written with --seed 42, now it is 7", [&] { train(o, Device::cpu, true); });
  EXPECT_TRUE(file("run/model.safetensors") == weights);
  o.resume_from = "none", o.overwrite_output_dir = true;
  o.freeze = {"nosuch"};  // what is refused removes nothing
  expect_error(Exit::usage, "--freeze nosuch", [&] { train(o, Device::cpu, true); });
  EXPECT_TRUE(file("run/model.safetensors") == weights);
  o.freeze.clear();
  TrainOptions own = o;
  own.model_name = o.output_dir + "/checkpoint-2";
  expect_error(Exit::usage, "lies in --output_dir", [&] { train(own, Device::cpu, true); });
  EXPECT_EQ(train(o, Device::cpu, true).steps, 3);
  EXPECT_FALSE(file("run/model.safetensors") == weights);
  EXPECT_EQ(log("run").size(), 3u);
}

TEST_F(Trainer, says_which_checkpoints_there_are) {
  TrainOptions o = trained(options("run"), 5);
  o.resume_from = "7";
  expect_error(Exit::usage, "has no checkpoint-7; there are steps 5, 10", [&] { train(o, Device::cpu, true); });
  fs::create_directories(folder_ / "run/checkpoint-011");  // none of ours
  expect_error(Exit::usage, "has no checkpoint-7; there are steps 5, 10", [&] { train(o, Device::cpu, true); });
  o = options("none"), o.save_steps = 5, o.save_strategy = "no";
  train(o, Device::cpu, true);
  EXPECT_FALSE(fs::exists(folder_ / "none/checkpoint-5"));
}

TEST_F(Trainer, refuses_to_go_on_with_an_adapter_on_another_base) {
  TrainOptions o = trained(lora("run"), 5);
  fs::remove(folder_ / "run/adapter_model.safetensors");
  o.resume_from = "auto";
  NamedTensors weights;
  for (const auto& [name, tensor] : load_safetensors(folder_ / "model/model.safetensors"))
    weights[name] = scale(tensor, 1.5);
  const std::string before = file("model/model.safetensors");
  save_safetensors(folder_ / "model/model.safetensors", weights);
  expect_error(Exit::data, "was written with another base model", [&] { train(o, Device::cpu, true); });
  write_text(folder_ / "model/model.safetensors", before);
  EXPECT_EQ(train(o, Device::cpu, true).steps, 2);
}

TEST_F(Trainer, what_is_refused_late_loses_nothing) {
  TrainOptions o = trained(options("run"), 5);
  const std::string weights = file("run/model.safetensors"), lines = file("run/log.jsonl");
  TrainOptions other = o;
  other.overwrite_output_dir = true, other.report_to = "tensorboard";
  write_text(folder_ / "board", "a file");
  other.logging_dir = folder_ / "board";
  EXPECT_THROW(train(other, Device::cpu, true), std::exception);
  EXPECT_TRUE(file("run/model.safetensors") == weights && file("run/log.jsonl") == lines);
  EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint-10") && fs::exists(folder_ / "run/training_state.json"));
  fs::remove(folder_ / "run/log.jsonl");
  o.resume_from = "5";
  expect_error(Exit::data, "log.jsonl", [&] { train(o, Device::cpu, true); });
  EXPECT_TRUE(fs::exists(folder_ / "run/training_state.json"));
}

TEST_F(Trainer, goes_on_with_another_spelling_of_its_folders_and_with_bad_rows_left_out) {
  TrainOptions o = trained(options("run"), 5);
  fs::remove(folder_ / "run/training_state.json");
  o.resume_from = "auto", o.bad_rows = "skip";
  o.dataset_name += "/", o.model_name = (folder_ / "data/../model").string();
  write_text(folder_ / "run/skipped_rows.jsonl", "{\"row\": \"row 1 of");  // cut off by a kill
  EXPECT_EQ(train(o, Device::cpu, true).steps, 2);
  EXPECT_FALSE(fs::exists(folder_ / "run/skipped_rows.jsonl"));
}

TEST_F(Trainer, odd_states_are_named) {
  TrainOptions o = trained(options("run"), 10);
  fs::remove(folder_ / "run/training_state.json");
  o.resume_from = "auto";
  const std::string file = "run/checkpoint-10/training_state.json";
  json state = json::parse(this->file(file));
  for (const auto& [name, value] : std::map<std::string, json>{
           {"options", 3}, {"rows", "many"}, {"base_model", nullptr}, {"step", json::array()}}) {
    json odd = state;
    odd[name] = value;
    write_json(folder_ / file, odd);
    expect_error(Exit::data, "training_state.json: not the state of a training run; ",
                 [&] { train(o, Device::cpu, true); });
  }
  write_text(folder_ / file, "[]");
  expect_error(Exit::data, "not the state of a training run", [&] { train(o, Device::cpu, true); });
}

TEST_F(Trainer, refuses_to_resume_another_run) {
  TrainOptions o = trained(options("run"), 5);
  o.resume_from = "auto", o.learning_rate = 1e-3;
  expect_error(Exit::usage, "was written with --learning_rate", [&] { train(o, Device::cpu, true); });
}

}  // namespace
}  // namespace vlm2vec
