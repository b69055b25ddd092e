// What users meet when something is wrong, with the real program: the exit code, one sentence that names the file, row
// or option, what came and the likely cure, and nothing half-written.
#include "cli_fixture.h"

namespace vlm2vec {
namespace {

struct Case {
  const char* name;
  const char* before;  // what the shell does first, in a folder with model, train and test
  const char* command;
  int code;
  std::vector<const char*> parts;  // of the sentence
};

const std::string kTrain =
    "train --model_name model --dataset_name train --output_dir out --per_device_train_batch_size 4 --max_steps 2 "
    "--quiet ";
const std::string kEval = "eval --model_name model --dataset_name test --encode_output_path out --quiet ";

std::vector<Case> cases() {
  static const std::string diverging =
      "train --model_name model --dataset_name train --output_dir out --per_device_train_batch_size 4 --max_steps 20 "
      "--learning_rate 1e30 --quiet";
  return {
      {"model_missing",
       "",
       "train --model_name none --dataset_name train --output_dir out --quiet",
       3,
       {"none: no such folder"}},
      {"weights_missing", "rm model/model.safetensors", nullptr, 3, {"model: ", "safetensors"}},
      {"weights_truncated",
       "truncate -s -100 model/model.safetensors",
       nullptr,
       3,
       {"model.safetensors: ", "ends at byte", "the file is cut off"}},
      {"weights_no_safetensors", "echo hello > model/model.safetensors", nullptr, 3, {"model.safetensors"}},
      {"configuration_damaged", "echo '{' > model/config.json", nullptr, 3, {"model/config.json: not valid JSON"}},
      {"tokenizer_damaged", "echo '[1' > model/tokenizer.json", nullptr, 3, {"model/tokenizer.json: not valid JSON"}},
      {"shapes_do_not_fit",
       "sed -i 's/\"intermediate_size\": 24/\"intermediate_size\": 32/' model/config.json",
       nullptr,
       3,
       {"model: ", "mlp.gate_proj.weight is f32[24, 16], the configuration needs [32, 16]"}},
      {"weights_not_there",
       "sed -i 's/\"num_hidden_layers\": 1/\"num_hidden_layers\": 2/' model/config.json",
       nullptr,
       3,
       {"model", "layers.1"}},
      {"weights_not_used", "sed -i 's/\"depth\": 1/\"depth\": 0/' model/config.json", nullptr, 3, {"model"}},
      {"data_missing", "rm -r train", nullptr, 3, {"train: no such folder"}},
      {"rows_damaged", "echo '{\"qry\": ' >> train/Set/original.jsonl", nullptr, 3, {"original.jsonl:6: "}},
      {"rows_are_a_folder",
       "rm train/Set/original.jsonl; mkdir train/Set/original.jsonl",
       nullptr,
       3,
       {"original.jsonl", "not a file"}},
      {"rows_are_empty", "echo -n > train/Set/original.jsonl", nullptr, 3, {"original.jsonl: has no rows"}},
      {"picture_missing", "rm train/p2.png", nullptr, 3, {"train/p2.png: no such file", "row 3 of Set"}},
      {"picture_truncated", "truncate -s 60 train/p2.png", nullptr, 3, {"row 3 of Set: ", "p2.png", "--bad_rows skip"}},
      {"picture_is_text", "echo hello > train/p2.png", nullptr, 3, {"row 3 of Set: ", "p2.png", "--bad_rows skip"}},
      {"tokens_do_not_fit",
       "sed -i '2s/<|image_1|>//' train/Set/original.jsonl",
       nullptr,
       3,
       {"row 2 of Set: ", "0 image tokens", "1 picture", "--bad_rows skip"}},
      {"empty_prompt",
       "sed -i '2s/thing 1//' train/Set/original.jsonl",
       nullptr,
       3,
       {"row 2 of Set: ", "neither text nor picture", "--bad_rows skip"}},
      {"tapes_unchunked", "", "TAPES", 2, {"--gc_keep_tapes False has no effect without --gc_q_chunk_size"}},
      {"chunk_negative", "", "CHUNK", 2, {"--gc_q_chunk_size: got -1, expected 0 or more"}},
      {"loss_is_no_number", "", diverging.c_str(), 1, {"train: step ", "the loss is ", "lower --learning_rate"}},
      {"disk_is_full", "ulimit -f 4", nullptr, 4, {"out", "may have at most", "ulimit"}},
      {"output_is_a_file", "echo mine > out", nullptr, 2, {"--output_dir: out is a file; name a folder"}},
      {"output_is_read_only",
       "",
       "train --model_name model --dataset_name train --output_dir /proc/out --max_steps 1 --quiet",
       4,
       {"/proc/out: cannot create the folder", "choose another one"}},
      {"scores_are_read_only",
       "",
       "eval --model_name model --dataset_name test --encode_output_path /proc/out --quiet",
       4,
       {"/proc/out: cannot create the folder", "choose another one"}},
      {"scores_in_use", "mkdir out; exec 9< out; flock 9", kEval.c_str(), 2, {"out: another process is writing"}},
      {"output_of_another_run",
       "mkdir out; cp model/model.safetensors out",
       nullptr,
       2,
       {"out: has the weights of an earlier run", "--overwrite_output_dir"}},
      {"output_in_use", "mkdir out; exec 9< out; flock 9", nullptr, 2, {"out: another process is writing"}},
      {"test_set_missing",
       "",
       "eval --model_name model --dataset_name none --encode_output_path out --quiet",
       3,
       {"none: no such folder"}},
      {"test_row_damaged", "echo '{}' >> test/Set/test.jsonl", kEval.c_str(), 3, {"test.jsonl:4: "}},
      {"test_picture_truncated", "truncate -s 60 test/p1.png", kEval.c_str(), 3, {"row 2 of Set: ", "p1.png"}},
      {"tasks_damaged", "echo '{\"datasets\": 3}' > test/tasks.json", kEval.c_str(), 3, {"test/tasks.json: expected"}},
      {"scores_are_a_file", "echo mine > out", kEval.c_str(), 2, {"--encode_output_path: out is a file"}},
      {"adapter_is_a_model", "", "EVALADAPTER", 3, {"model", "adapter"}},
      {"lines_missing", "", "embed --model_name model --input none.jsonl --output out --quiet", 3, {"none.jsonl: "}},
      {"line_damaged",
       "echo '{\"txt\": 1}' > in.jsonl",
       "embed --model_name model --input in.jsonl --output out --quiet",
       3,
       {"in.jsonl:1: ", "unknown field txt"}},
      {"vectors_nowhere",
       "echo '{\"text\": \"a\"}' > in.jsonl",
       "embed --model_name model --input in.jsonl --output nowhere/out --quiet",
       4,
       {"nowhere/out: cannot be written"}},
      {"folder_above_the_data",
       "mkdir above; mv train above",
       "train --model_name model --dataset_name above --output_dir out --quiet",
       3,
       {"above: no set folder with original.jsonl", "; name above/train, which has such sets"}},
      {"pictures_nowhere",
       "echo '{\"text\": \"a\"}' > in.jsonl",
       "embed --model_name model --input in.jsonl --output out --image_dir nowhere/pictures --quiet",
       3,
       {"nowhere/pictures: no such folder or archive"}},
      {"modules_nowhere",
       "",
       "train --model_name model --dataset_name train --output_dir out --lora True --lora_target_modules nope --quiet",
       2,
       {"--lora_target_modules nope: none", "q_proj"}},
      {"option_of_validation",
       "",
       "train --eval_dataset test",
       2,
       {"no option --eval_dataset; train has no validation"}},
      {"option_of_rows", "", "embed --image p.png", 2, {"no option --image; write texts and pictures into the rows"}},
      {"option_unknown", "", "train --model model", 2, {"--model", "nearest"}},
  };
}

class Errors : public Cli {};

TEST_F(Errors, AreOneSentenceEach) {
  make_model();
  const std::string adapter = kEval + "--adapter model", chunk = kTrain + "--gc_q_chunk_size=-1";
  const auto listing = [&](const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / folder))
      names.insert(fs::relative(entry.path(), folder_ / folder));
    return names;
  };
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const std::string work = std::string("case_") + c.name;
    fs::create_directories(folder_ / work);
    for (const char* part : {"model", "train", "test"})
      fs::copy(folder_ / part, folder_ / work / part, fs::copy_options::recursive);
    std::string command = c.command ? c.command : kTrain;
    if (command == "CHUNK") command = chunk;
    if (command == "TAPES") command = kTrain + "--gc_keep_tapes False";
    if (command == "EVALADAPTER") command = adapter;
    const std::string before = "cd " + work + " && ", prepare = *c.before ? std::string(c.before) + "; " : "";
    const Result r = run(command, before + prepare);
    EXPECT_EQ(r.code, c.code) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    EXPECT_TRUE(r.err.starts_with("vlm2vec: ")) << r.err;
    for (const char* part : c.parts) EXPECT_TRUE(has(r.err, part)) << part << " is not in: " << r.err;
    for (const char* raw : {"[json.exception", "filesystem error", "std::", "terminate"})
      EXPECT_FALSE(has(r.err, raw)) << r.err;
    EXPECT_EQ(r.out, "");
    for (const std::string& name : listing(work)) {
      EXPECT_FALSE(has(name, kTemporaryMark)) << name;
      const bool kept = std::string(c.name) == "loss_is_no_number" && name.starts_with("out/checkpoint-");
      EXPECT_FALSE(name.starts_with("out/") && has(name, "model.safetensors") && !kept &&
                   std::string(c.name) != "output_of_another_run")
          << name;
      EXPECT_FALSE(has(name, "checkpoint-") && !kept) << name;
    }
    fs::remove_all(folder_ / work);
  }
}

TEST_F(Errors, APictureThatGoesBadWhileTrainingKeepsWhatWasLearned) {
  make_model();
  std::string rows;
  for (int i = 0; i < 4480; ++i)  // more than the plan looks at
    rows += Json{{"qry", "<|image_1|>\nName it.\n"},
                 {"qry_image_path", i == 4400 ? "bad.png" : "p1.png"},
                 {"pos_text", "thing " + std::to_string(i)},
                 {"pos_image_path", ""}}
                .dump() +
            "\n";
  write("train/Set/original.jsonl", rows);
  write("train/bad.png", "hello");
  write("order.json", [] {
    Json batches;
    for (int row = 0; row < 4480; ++row) batches[size_t(row / 64)].push_back(row);
    return batches.dump();
  }());
  const std::string command =
      "train --model_name model --train_file train/Set/original.jsonl --image_dir train --batches order.json "
      "--max_steps 70 "
      "--output_dir "
      "out --quiet --lora True --lora_r 2";
  const Result r = run(command);
  EXPECT_EQ(r.code, 3);
  EXPECT_TRUE(has(r.err, "row 4401 of train/Set/original.jsonl: ")) << r.err;
  EXPECT_TRUE(fs::exists(folder_ / "out/checkpoint-68/training_state.json"));
  fs::copy_file(folder_ / "train/p2.png", folder_ / "train/bad.png", fs::copy_options::overwrite_existing);
  EXPECT_EQ(run(command + " --resume_from auto").code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "out/adapter_model.safetensors"));
}

TEST_F(Errors, LeftoversOfAKilledSaveGoAtTheNextStart) {
  make_model();
  fs::create_directories(folder_ / "out/checkpoint-2.vlm2vec-tmp-123");
  write("out/checkpoint-2.vlm2vec-tmp-123/model.safetensors", "half");
  write("out/log.jsonl.vlm2vec-tmp-99", "half");
  write("out/notes.tmp-1", "mine");
  const Result r = run(kTrain);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(fs::exists(folder_ / "out/checkpoint-2.vlm2vec-tmp-123"));
  EXPECT_FALSE(fs::exists(folder_ / "out/log.jsonl.vlm2vec-tmp-99"));
  EXPECT_TRUE(fs::exists(folder_ / "out/notes.tmp-1"));
}

TEST_F(Errors, ABatchLargerThanTheDataIsSaid) {
  make_model();
  const Result r = run("train --model_name model --dataset_name train --output_dir out --max_steps 1");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(has(r.err, "each step has all 5 rows, fewer than a batch of 128")) << r.err;
}

}  // namespace
}  // namespace vlm2vec
