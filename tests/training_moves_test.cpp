// A run that goes on elsewhere, with other options, or from its weights alone; adapters and the model they belong to.
#include "cli_fixture.h"
#include "expect_error.h"
#include "tensor/tensor_files.h"
#include "trainer_fixture.h"
#include "vlm/model.h"
#include "vlm/model_hash.h"

namespace vlm2vec {
namespace {

class Moves : public Trainer {
 protected:
  // As if the run had been stopped at the step.
  void cut(const std::string& run, int step) {
    for (const auto& entry : fs::directory_iterator(folder_ / run)) {
      const std::string name = entry.path().filename();
      if (name.ends_with("model.safetensors") || name == "training_state.json" ||
          (name.starts_with("checkpoint-") && name != "checkpoint-" + std::to_string(step)))
        fs::remove_all(entry.path());
    }
  }
  void change_model() {
    NamedTensors weights;
    for (const auto& [name, tensor] : load_safetensors(folder_ / "model/model.safetensors"))
      weights[name] = scale(tensor, 1.5);
    save_safetensors(folder_ / "model/model.safetensors", weights);
  }
};

TEST_F(Moves, of_rows_pictures_model_and_run_change_no_bit) {
  write_text(folder_ / "sets.yaml",
             "A: {dataset_parser: mmeb, dataset_name: data, subset_name: A, image_dir: data}\n"
             "B: {dataset_parser: mmeb, dataset_name: data, subset_name: B, image_dir: data, weight: 2}\n");
  write_json(folder_ / "batches.json", std::vector<std::vector<int>>(12, {0, 1, 2, 3}));
  for (const std::string how : {"folder", "config", "file", "batches"}) {
    TrainOptions o = how == "file" ? options(how) : lora(how);
    o.save_steps = 5;
    if (how != "folder") o.dataset_name = "";
    if (how == "config") o.dataset_config = folder_ / "sets.yaml", o.data_basedir = folder_.path();
    if (how == "file" || how == "batches")
      o.train_file = folder_ / "data/A/original.jsonl", o.image_dir = folder_ / "data";
    if (how == "batches")
      o.batches = folder_ / "batches.json", o.per_device_train_batch_size = TrainOptions().per_device_train_batch_size;
    train(o, Device::cpu, true);
    const std::string weights = how == "file" ? "/model.safetensors" : "/adapter_model.safetensors";
    const std::string straight = file(how + weights);
    cut(how, 5);
    const fs::path there = folder_ / ("moved-" + how);
    fs::create_directory(there);
    for (const char* part : {"data", "model", "sets.yaml", "batches.json"})
      fs::copy(folder_ / part, there / part, fs::copy_options::recursive);
    fs::rename(folder_ / how, there / how);
    for (std::string* path : {&o.model_name, &o.dataset_name, &o.dataset_config, &o.data_basedir, &o.train_file,
                              &o.image_dir, &o.batches, &o.output_dir})
      if (!path->empty()) *path = there / fs::relative(*path, folder_.path());
    o.resume_from = "auto";
    EXPECT_EQ(train(o, Device::cpu, true).steps, 7) << how;
    EXPECT_TRUE(file("moved-" + how + "/" + how + weights) == straight) << how;
  }
}

TEST_F(Moves, other_rows_and_models_are_still_refused) {
  TrainOptions o = options("run");
  o.save_steps = 5;
  train(o, Device::cpu, true);
  cut("run", 5);
  o.resume_from = "auto";
  const std::string rows = file("data/A/original.jsonl");
  fs::copy_file(folder_ / "data/images/A3.png", folder_ / "data/images/C3.png");
  for (const std::string was : {"A thing 3", "A3.png"}) {
    std::string text = rows;
    text.replace(text.find(was), 1, "C");
    write_text(folder_ / "data/A/original.jsonl", text);
    expect_error(Exit::data, "was written with other training rows", [&] { train(o, Device::cpu, true); });
  }
  write_text(folder_ / "data/A/original.jsonl", rows);
  change_model();
  expect_error(Exit::data, "was written with another base model", [&] { train(o, Device::cpu, true); });
  fs::remove_all(folder_ / "model");  // a checkpoint of the whole model is enough to go on
  EXPECT_EQ(train(o, Device::cpu, true).steps, 7);
}

TEST_F(Moves, adapters_instead_of_the_model_are_named_as_what_differs) {
  TrainOptions o = options("run");
  o.save_steps = 5;
  train(o, Device::cpu, true);
  cut("run", 5);
  TrainOptions adapters = lora("run");
  adapters.save_steps = 5, adapters.resume_from = "auto";
  expect_error(Exit::usage, "was written with --lora false, now it is true",
               [&] { train(adapters, Device::cpu, true); });
}

// What the sentence recommends to who wants more steps is done, word by word.
TEST_F(Moves, more_steps_are_a_run_from_the_weights) {
  for (const bool adapters : {true, false})
    for (const bool finished : {true, false}) {
      const std::string name = sentence("run", adapters, finished);
      TrainOptions o = adapters ? lora(name) : options(name);
      o.save_steps = 5;
      train(o, Device::cpu, true);
      if (!finished) cut(name, 5);
      o.max_steps = 20, o.resume_from = "auto";
      const std::string from = (folder_ / (finished ? name : name + "/checkpoint-5")).string();
      expect_error(Exit::usage, "now it is 20", [&] { train(o, Device::cpu, true); });
      expect_error(
          Exit::usage,
          "with another --output_dir and a new schedule: " + ((adapters ? "--adapter " : "--model_name ") + from),
          [&] { train(o, Device::cpu, true); });
      o = options(name + "-on");
      (adapters ? o.adapter : o.model_name) = from;
      EXPECT_EQ(train(o, Device::cpu, true).steps, 12);
    }
}

TEST_F(Moves, an_adapter_on_another_base_is_noticed) {
  train(lora("run"), Device::cpu, true);
  const fs::path model = folder_ / "model", adapter = folder_ / "run";
  EXPECT_EQ(other_base_note(model, adapter), "");
  fs::copy(model, folder_ / "copy", fs::copy_options::recursive);
  EXPECT_EQ(other_base_note(folder_ / "copy", adapter), "");  // wherever it lies
  change_model();
  const std::string note = "run was trained on another base model than ";
  EXPECT_NE(other_base_note(model, adapter).find(note), std::string::npos);
  EXPECT_NE(other_base_note(model, adapter).find((folder_ / "model").string()), std::string::npos);
  ModelOptions o;
  o.model_name = model, o.adapter = adapter;
  TrainOptions further = options("further");
  further.adapter = adapter, further.max_steps = 1;
  for (const auto& use : std::initializer_list<std::function<void()>>{[&] { load_model(o, Device::cpu, true); },
                                                                      [&] { train(further, Device::cpu, true); }}) {
    testing::internal::CaptureStderr();
    use();
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(has(said, note)) << said;
  }
  fs::remove(adapter / "training_state.json");  // as other programs write adapters
  EXPECT_EQ(other_base_note(model, adapter), "");
}

TEST_F(Cli, MergeNoticesAnAdapterOfAnotherBase) {
  make_model();
  EXPECT_EQ(run("train --model_name model --dataset_name train --output_dir adapter --max_steps 1 --lora --quiet "
                "--per_device_train_batch_size 2")
                .code,
            0);
  EXPECT_EQ(run("init --config config.json --tokenizer model --seed 7 --output_dir other --quiet").code, 0);
  const std::string merge = " --adapter adapter --quiet --output_dir merged --model_name ";
  EXPECT_EQ(run("merge" + merge + "model").err, "");
  EXPECT_TRUE(has(run("merge" + merge + "other").err, "adapter was trained on another base model than other"));
}

}  // namespace
}  // namespace vlm2vec
