// The trainer's options as Hugging Face defines them: accumulation, epochs, freezing, checkpoints, bf16 weights, state.
#include <cmath>

#include "expect_error.h"
#include "kernels/emulator.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/training_data.h"
#include "nn/optim.h"
#include "tensor/tensor_files.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

using TrainingOptions = Trainer;

class Accumulation : public Trainer {
 protected:
  // Batches of rows of set A
  std::vector<json> run(const std::string& name, const json& batches, int64_t accumulation, int64_t steps) {
    TrainOptions o = options(name);
    o.dataset_name = "", o.train_file = folder_ / "data/A/original.jsonl", o.image_dir = folder_ / "data";
    o.batches = folder_ / (name + ".json");
    write_json(o.batches, batches);
    o.per_device_train_batch_size = TrainOptions().per_device_train_batch_size;
    o.gradient_accumulation_steps = accumulation, o.max_steps = steps, o.warmup_steps = 0, o.max_grad_norm = 0.5;
    train(o, Device::cpu, true);
    return log(name);
  }
};

TEST_F(Accumulation, takes_the_mean_gradient) {
  const json a = {0, 1, 2}, b = {3, 4, 5};
  const auto both = run("both", {a, b}, 2, 1);
  const auto encoder = load_encoder(folder_ / "model");
  const TrainedParameters parameters(encoder->backbone->parameters());
  AdamW optimiser(parameters, {});
  const auto rows = read_train_rows(folder_ / "data/A/original.jsonl");
  double loss = 0;
  for (const json& batch : {a, b}) {
    std::vector<EncoderInput> queries, targets;
    for (const size_t row : batch.get<std::vector<size_t>>()) {
      queries.push_back(encoder_input(rows[row].query, encoder->image_token(), folder_ / "data"));
      targets.push_back(encoder_input(rows[row].positives[0], encoder->image_token(), folder_ / "data"));
    }
    loss += item(contrastive_step(*encoder, queries, targets, {.temperature = 0.1}).loss) / 2;
  }
  const GradientNorm gradient = clip_gradients(sum_of_squares(parameters.gradients()), 0.5, 0.5);
  EXPECT_EQ(both[0]["loss"].get<double>(), loss);
  EXPECT_EQ(both[0]["grad_norm"].get<double>(), gradient.norm);
  optimiser.step(5e-3, gradient.scale);
  for (const auto& [name, tensor] : load_safetensors(folder_ / "both/model.safetensors"))
    EXPECT_TRUE(to_vector<float>(tensor) == to_vector<float>(state_dict(*encoder->backbone).at(name))) << name;
}

TEST_F(Accumulation, of_equal_batches_is_one_batch_and_adds_no_negatives) {
  const json a = {0, 1, 2}, b = {3, 4, 5};
  const auto plain = run("plain", {a, b}, 1, 2), twice = run("twice", {a, a, b, b}, 2, 2);
  for (size_t step : {0, 1}) {
    EXPECT_NEAR(plain[step]["loss"].get<double>(), twice[step]["loss"].get<double>(), 1e-4);
    EXPECT_NEAR(plain[step]["grad_norm"].get<double>(), twice[step]["grad_norm"].get<double>(), 1e-3);
    EXPECT_EQ(plain[step]["in_batch_accuracy"], twice[step]["in_batch_accuracy"]);
  }
  const auto one = run("one", json::array({a}), 1, 1), other = run("other", json::array({b}), 1, 1),
             both = run("both", {a, b}, 2, 1), large = run("large", json::array({{0, 1, 2, 3, 4, 5}}), 1, 1);
  const double mean = (one[0]["loss"].get<double>() + other[0]["loss"].get<double>()) / 2;
  EXPECT_DOUBLE_EQ(both[0]["loss"].get<double>(), mean);
  EXPECT_GT(large[0]["loss"].get<double>(), mean + 0.1);
  expect_error(Exit::usage, "2 steps of 3 batches, but", [&] { run("few", {a, b, a, b}, 3, 2); });
}

TEST_F(TrainingOptions, epochs_count_rows) {  // of 24
  struct Case {
    double epochs;
    int64_t batch, accumulation, steps, begun;
    double seen;
  };
  for (const auto& [epochs, batch, accumulation, steps, begun, seen] :
       {Case{1, 6, 1, 4, 1, 1}, Case{1.5, 6, 1, 6, 2, 1.5}, Case{2, 5, 1, 10, 2, 2.04}, Case{2, 6, 3, 3, 2, 2.25}}) {
    TrainOptions o = options("epochs");
    o.overwrite_output_dir = true;
    o.max_steps = 0, o.num_train_epochs = epochs, o.per_device_train_batch_size = batch;
    o.gradient_accumulation_steps = accumulation;
    const TrainingData rows(o);
    EXPECT_EQ(rows.steps(), steps) << epochs;
    EXPECT_EQ(rows.epochs(), begun) << epochs;
    train(o, Device::cpu, true);
    EXPECT_EQ(int64_t(log("epochs").size()), steps);
    EXPECT_NEAR(log("epochs").back()["epoch"].get<double>(), seen, 0.05);
    EXPECT_EQ(json::parse(file("epochs/training_options.json"))["max_steps"], 0);  // as given: the command that was
  }
  TrainOptions o = options("epochs");
  o.max_steps = 0;
  EXPECT_EQ(TrainingData(o).steps(), 2000);
  o.max_steps = 3, o.num_train_epochs = 1;
  expect_error(Exit::usage, "--max_steps and --num_train_epochs both", [&] { train(o, Device::cpu, true); });
}

// As in transformers 5: steps, or below 1 a share of all steps, rounded up.
TEST_F(TrainingOptions, warmup_is_steps_or_a_share) {
  const auto rates = [&](double steps, double ratio) {
    TrainOptions o = options("warmup");
    o.overwrite_output_dir = true, o.max_steps = 5, o.warmup_steps = steps, o.warmup_ratio = ratio;
    train(o, Device::cpu, true);
    std::vector<double> rates;
    for (const json& line : log("warmup")) rates.push_back(line["learning_rate"].get<double>() / o.learning_rate);
    return rates;
  };
  const std::vector<double> two = {0, 0.5, 1, 2.0 / 3, 1.0 / 3};
  EXPECT_EQ(rates(2, 0), two);
  EXPECT_EQ(rates(0.3, 0), two);  // ceil(1.5)
  EXPECT_EQ(rates(0, 0.3), two);
  EXPECT_EQ(rates(0.3, 0.9), two);
  EXPECT_EQ(rates(1, 0)[1], 1.0);
  for (const double wrong : {-1.0, 1.5, 1e16})
    expect_error(Exit::usage, "expected a whole number of steps, or a share below 1", [&] { rates(wrong, 0); });
}

TEST_F(TrainingOptions, frozen_parameters_stay) {
  const NamedTensors before = load_safetensors(folder_ / "model/model.safetensors");
  const auto changed = [&](const TrainOptions& o) {
    train(o, Device::cpu, true);
    std::set<std::string> names;
    for (const auto& [name, tensor] : load_safetensors(fs::path(o.output_dir) / "model.safetensors"))
      if (to_vector<float>(tensor) != to_vector<float>(before.at(name))) names.insert(name);
    return names;
  };
  const auto some = [](const std::set<std::string>& names, const std::string& beginning) {
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return name.starts_with(beginning); });
  };
  TrainOptions o = options("encoder");
  o.max_steps = 3, o.image_encoder_freeze = true;
  const auto encoder = changed(o);
  EXPECT_FALSE(some(encoder, "visual"));
  EXPECT_TRUE(some(encoder, "model.layers.0") && some(encoder, "model.layers.1"));
  // Either spelling of the names, with checkpointing and chunks
  o = options("layers");
  o.max_steps = 3, o.freeze = {"model.language_model.layers.1", "model.embed_tokens.weight", "model.visual.merger."};
  o.gradient_checkpointing = true, o.gc_p_chunk_size = 2;
  const auto layers = changed(o);
  EXPECT_FALSE(some(layers, "model.layers.1") || some(layers, "model.embed") || some(layers, "visual.merger"));
  EXPECT_TRUE(some(layers, "model.layers.0") && some(layers, "visual.blocks"));
  // The targets, texts, then meet no trained parameter.
  for (const int64_t chunk : {0, 2}) {
    o = options("tower" + std::to_string(chunk));
    o.max_steps = 3, o.freeze = {"model"}, o.gc_q_chunk_size = o.gc_p_chunk_size = chunk;
    const auto tower = changed(o);
    EXPECT_FALSE(some(tower, "model"));
    EXPECT_TRUE(some(tower, "visual"));
  }
  o.output_dir = folder_ / "wrong";
  o.freeze = {"model.layer"};
  expect_error(Exit::usage,
               "--freeze model.layer: no trained parameter has a name that begins with it; the nearest is model.layers",
               [&] { train(o, Device::cpu, true); });
  o.freeze = {"model", "visual"};
  expect_error(Exit::usage, "leave no parameter to train", [&] { train(o, Device::cpu, true); });
}

TEST_F(TrainingOptions, only_the_latest_checkpoints_are_kept) {
  TrainOptions o = options("limit");
  o.save_steps = 2, o.save_total_limit = 2, o.max_steps = 11;
  train(o, Device::cpu, true);
  std::set<std::string> kept;
  for (const auto& entry : fs::directory_iterator(folder_ / "limit"))
    if (entry.is_directory()) kept.insert(entry.path().filename());
  EXPECT_EQ(kept, (std::set<std::string>{"checkpoint-8", "checkpoint-10"}));
  const std::string whole = file("limit/model.safetensors");
  o.resume_from = "8", o.save_total_limit = 1;  // of where checkpoints go a resumed run may decide anew
  EXPECT_EQ(train(o, Device::cpu, true).steps, 3);
  EXPECT_TRUE(file("limit/model.safetensors") == whole);
  EXPECT_FALSE(fs::exists(folder_ / "limit/checkpoint-8"));
}

TEST_F(TrainingOptions, trainer_state_is_hugging_faces) {
  TrainOptions o = options("state");
  o.save_steps = 5, o.logging_steps = 3;
  train(o, Device::cpu, true);
  const json state = json::parse(file("state/trainer_state.json"));
  std::set<std::string> keys;
  for (const auto& [key, value] : state.items()) keys.insert(key);
  EXPECT_EQ(keys, (std::set<std::string>{"best_metric", "best_model_checkpoint", "epoch", "eval_steps", "global_step",
                                         "is_hyper_param_search", "is_local_process_zero", "is_world_process_zero",
                                         "log_history", "logging_steps", "max_steps", "num_input_tokens_seen",
                                         "num_train_epochs", "save_steps", "stateful_callbacks", "total_flos",
                                         "train_batch_size", "trial_name", "trial_params"}));
  EXPECT_EQ(state["global_step"], 12);
  EXPECT_EQ(state["max_steps"], 12);
  EXPECT_EQ(state["epoch"], 3.0);
  EXPECT_EQ(state["num_train_epochs"], 3);
  EXPECT_EQ(state["train_batch_size"], 6);
  EXPECT_EQ(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"], true);
  const auto lines = log("state");
  ASSERT_EQ(state["log_history"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const json &entry = state["log_history"][i], &last = lines[3 * i + 2];
    double loss = 0;
    for (size_t j = 3 * i; j < 3 * i + 3; ++j) loss += lines[j]["loss"].get<double>() / 3;
    EXPECT_NEAR(entry["loss"].get<double>(), loss, 0.5001e-4);
    for (const char* key : {"grad_norm", "learning_rate", "epoch", "step"}) EXPECT_EQ(entry[key], last[key]) << key;
    EXPECT_EQ(entry.size(), 5u);
  }
  EXPECT_EQ(json::parse(file("state/checkpoint-5/trainer_state.json"))["log_history"].size(), 1u);
  EXPECT_EQ(json::parse(file("state/checkpoint-5/trainer_state.json"))["epoch"], 1.25);
  // Steps 4 and 5, in no entry yet, are not forgotten by a run that goes on.
  fs::remove_all(folder_ / "state/checkpoint-10");
  fs::remove(folder_ / "state/model.safetensors");
  const std::string before = file("state/trainer_state.json");
  o.resume_from = "auto";
  train(o, Device::cpu, true);
  EXPECT_EQ(file("state/trainer_state.json"), before);
}

// Small updates are not lost in bf16 weights: masters have more digits.
TEST_F(TrainingOptions, bf16_weights_have_f32_masters) {
  const auto make = [&](const std::string& name, const std::string& precision) {
    TrainOptions o = options(name);
    o.max_steps = 80, o.save_steps = 50, o.precision = precision;
    return o;
  };
  TrainOptions o = make("bf16", "bf16");
  const uint64_t launches = emulator::launches;
  train(o, Device::cpu, true);
  EXPECT_EQ(emulator::launches, launches);  // the CPU has a fast path for all of it
  const auto lines = log("bf16");
  EXPECT_LT(lines.back()["loss"].get<double>(), 0.6 * lines.front()["loss"].get<double>());
  EXPECT_EQ(json::parse(file("bf16/config.json"))["torch_dtype"], "bfloat16");
  for (const auto& [name, tensor] : load_safetensors(folder_ / "bf16/model.safetensors"))
    EXPECT_EQ(tensor.dtype(), DType::bf16) << name;
  int64_t finer = 0, all = 0;
  const NamedTensors optimiser = load_safetensors(folder_ / "bf16/checkpoint-50/optimizer.safetensors");
  for (const float x : to_vector<float>(optimiser.at("master"))) finer += x != float(bf16(x)), ++all;
  EXPECT_GT(finer, all / 2);
  // The same way as f32, as long as chaos has not parted them.
  for (const char* precision : {"f32", "bf16"}) {
    TrainOptions few = make(precision + std::string("-10"), precision);
    few.max_steps = 10, few.save_steps = 0;
    train(few, Device::cpu, true);
  }
  double apart = 0, moved = 0;
  const NamedTensors fine = load_safetensors(folder_ / "f32-10/model.safetensors"),
                     coarse = load_safetensors(folder_ / "bf16-10/model.safetensors"),
                     before = load_safetensors(folder_ / "model/model.safetensors");
  for (const auto& [name, tensor] : fine) {
    const auto x = to_vector<double>(tensor), y = to_vector<double>(coarse.at(name)),
               start = to_vector<double>(before.at(name));
    for (size_t i = 0; i < x.size(); ++i)
      apart += (x[i] - y[i]) * (x[i] - y[i]), moved += (x[i] - start[i]) * (x[i] - start[i]);
  }
  EXPECT_LT(std::sqrt(apart / moved), 0.1);
  const std::string whole = file("bf16/model.safetensors");
  fs::remove(folder_ / "bf16/model.safetensors");
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 30);
  EXPECT_TRUE(file("bf16/model.safetensors") == whole);
  // Frozen f32 weights lose nothing.
  o = make("frozen", "bf16");
  o.max_steps = 2, o.freeze = {"model.layers.0"};
  train(o, Device::cpu, true);
  const NamedTensors frozen = load_safetensors(folder_ / "frozen/model.safetensors"),
                     start = load_safetensors(folder_ / "model/model.safetensors");
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  EXPECT_EQ(to_vector<float>(frozen.at(name)), to_vector<float>(start.at(name)));
  EXPECT_EQ(frozen.at("model.layers.1.mlp.up_proj.weight").dtype(), DType::bf16);
  EXPECT_EQ(json::parse(file("frozen/config.json"))["torch_dtype"], "float32");
}

TEST_F(TrainingOptions, bf16_adapters_stay_f32) {
  TrainOptions o = lora("adapter");
  o.precision = "bf16", o.max_steps = 2;
  train(o, Device::cpu, true);
  const NamedTensors adapter = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
  EXPECT_FALSE(adapter.empty());
  for (const auto& [name, tensor] : adapter) EXPECT_EQ(tensor.dtype(), DType::f32) << name;
}

}  // namespace
}  // namespace vlm2vec
