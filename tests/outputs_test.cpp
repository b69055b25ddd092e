// No command replaces what it reads, or a file or folder that it has not written.
#include <map>

#include "cli_fixture.h"

namespace vlm2vec {
namespace {

class Outputs : public Cli {
 protected:
  void SetUp() override {
    make_model();
    write("rows.jsonl", "{\"text\": \"thing 1\"}\n{\"text\": \"two\"}\n");
    ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output index.npy --quiet").code, 0);
  }
  std::map<std::string, std::string> everything() const {
    std::map<std::string, std::string> texts;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
      if (entry.is_regular_file()) texts[entry.path()] = read_text(entry);
    return texts;
  }
  void refuses(const std::string& command, const std::string& words) const {
    SCOPED_TRACE(command);
    const auto before = everything();
    const Result r = run(command);
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_TRUE(has(r.err, words)) << r.err;
    EXPECT_TRUE(everything() == before);
  }
};

TEST_F(Outputs, ReplaceNoFileOfAnotherKind) {
  const std::string search = "search --index index.npy --text hi --prompt raw --output ";
  refuses(search + "index.npy", "index.npy: is the input");
  refuses(search + "rows.jsonl", "rows.jsonl: already exists and is not an HTML page");
  const std::string embed = "embed --model_name model --input rows.jsonl --output ";
  for (const char* file : {"model/model.safetensors", "model/config.json", "train/p1.png", "rows.jsonl"})
    refuses(embed + file, std::string(file) + ": is ");
  refuses(embed + "model/config", "model/config.json: already exists and is not what embed writes");
  refuses("report model --output model/model.safetensors", "is not an HTML page");
  refuses("explain --model_name model --text hi --dump model/model.safetensors", "is not a dump");
  refuses("data preview train --output train/Set/original.jsonl", "is not an HTML page");
  refuses("leaderboard test --model_name m --output model/config.json", "is not a submission");
  refuses("image train/p1.png --output train/p1.png", "is the input");
  write("a.npy", "mine");
  refuses("image train/p1.png --output a.npy", "a.npy: already exists and is not a NumPy file");
  write("pixels/p1.png.npy", "mine");
  refuses("image train/p1.png train/p2.png --output pixels", "p1.png.npy: already exists and is not a NumPy file");
  fs::create_directories(folder_ / "dumps");
  write("dumps/parity.json", "{\"mine\": 1}");
  refuses("parity --model_name model --reference dumps", "is not a certificate");
}

TEST_F(Outputs, ReplaceWhatTheCommandWrote) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output index.npy --quiet").code, 0);
    EXPECT_EQ(run("search --index index.npy --text hi --prompt raw --output found.html").code, 0);
    EXPECT_EQ(run("explain --model_name model --text hi --dump dump.safetensors --quiet").code, 0);
    EXPECT_EQ(run("data preview train --output train/page.html").code, 0);
    EXPECT_EQ(run("image train/p1.png --output p.npy").code, 0);
    EXPECT_EQ(run("image train/p1.png --output p.png").code, 0);
  }
  write("empty.npy", "");
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output empty.npy --quiet").code, 0);
}

TEST_F(Outputs, ReplaceNoModelButTheirOwn) {
  const std::string init = "init --config config.json --tokenizer model --quiet --output_dir ";
  EXPECT_EQ(run(init + "mine").code, 0);
  EXPECT_EQ(run(init + "mine --seed 2").code, 0);
  const std::string train =
      "train --model_name model --dataset_name train --max_steps 1 --per_device_train_batch_size 2 "
      "--quiet --output_dir ";
  ASSERT_EQ(run(train + "adapter --lora True --lora_target_modules q_proj").code, 0);
  ASSERT_EQ(run("merge --model_name model --adapter adapter --quiet --output_dir merged").code, 0);
  ASSERT_EQ(run("merge --model_name model --adapter adapter --quiet --output_dir merged").code, 0);
  refuses(init + "merged", "merged has another model, not random weights that init made");
  refuses("merge --model_name model --adapter adapter --output_dir mine", "mine has another model, not weights that");
  fs::create_directories(folder_ / "words");
  fs::copy_file(folder_ / "model/tokenizer.json", folder_ / "words/tokenizer.json");
  refuses(init + "words", "words has another model");
  refuses(init + "rows.jsonl", "rows.jsonl is a file; name a folder");
}

TEST_F(Outputs, AreNotWhereTheCommandReads) {
  const std::string eval = "eval --model_name model --dataset_name test --encode_output_path ";
  refuses(eval + "model", "is the folder of the model itself");
  refuses(eval + "test/", "is the folder of the data");
  refuses(eval + "test/Set", "has the rows of a data set");
  refuses(eval + "rows.jsonl", "rows.jsonl is a file; name a folder");
  const std::string train = "train --model_name model --dataset_name train --output_dir ";
  refuses(train + "./train", "is the folder of the data");
  refuses(train + "train/Set", "has the rows of a data set");
  refuses(train + "model", "is the folder of the model itself");
}

// A run that replaces another leaves nothing of it, however it ends itself.
TEST_F(Outputs, HaveNothingOfAnEarlierRun) {
  const std::string train =
      "train --model_name model --dataset_name train --per_device_train_batch_size 5 --quiet --output_dir out ";
  ASSERT_EQ(run(train + "--max_steps 1").code, 0);
  ASSERT_EQ(run("report out").code, 0);
  ASSERT_TRUE(fs::exists(folder_ / "out/config.json") && fs::exists(folder_ / "out/report.html"));
  write("out/notes.txt", "mine");
  const Result r = run(train + "--max_steps 9 --learning_rate 1e30 --overwrite_output_dir True");
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_FALSE(has(r.err, "-nan")) << r.err;
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json",
                           "report.html", "training_state.json", "trainer_state.json"})
    EXPECT_FALSE(fs::exists(folder_ / "out" / file)) << file;
  EXPECT_TRUE(fs::exists(folder_ / "out/log.jsonl") && fs::exists(folder_ / "out/notes.txt"));
}

TEST_F(Outputs, AreCleanedOfWhatKilledProcessesLeft) {
  write("mine.vlm2vec-tmp-999999999/config.json", "half");
  write("mine2.vlm2vec-tmp-999999999/config.json", "of another");
  write("mine.vlm2vec-tmp-1/config.json", "of a process that lives");
  ASSERT_EQ(run("init --config config.json --tokenizer model --quiet --output_dir mine").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "mine.vlm2vec-tmp-999999999"));
  EXPECT_TRUE(fs::exists(folder_ / "mine2.vlm2vec-tmp-999999999"));
  EXPECT_TRUE(fs::exists(folder_ / "mine.vlm2vec-tmp-1"));
}

TEST_F(Outputs, AndInputsHaveNames) {
  refuses("embed --model_name model --input rows.jsonl --output \"\"", "embed: --output is empty");
  refuses("embed --model_name model --input= --output x.npy", "embed: --input is empty");
  refuses("train --model_name \"$NOWHERE\" --dataset_name train --output_dir out", "train: --model_name is empty");
  refuses("eval --model_name model --adapter \"\" --dataset_name test --encode_output_path out", "--adapter is empty");
}

}  // namespace
}  // namespace vlm2vec
