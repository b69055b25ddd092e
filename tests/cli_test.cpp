// The program as its users and their scripts meet it: the built binary's output, exit codes and files.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "temporary_folder.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"
#include "vlm/image.h"

namespace vlm2vec {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Result {
  int code;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  // `arguments` as typed in a shell, in the test's folder; `before`: what the shell does first.
  Result run(const std::string& arguments, const std::string& before = "") const {
    const fs::path error_file = folder_ / "stderr";
    const std::string line = "cd '" + folder_.path().string() + "' && " + before + "'" PROGRAM "' " + arguments +
                             " 2>'" + error_file.string() + "'";
    FILE* pipe = popen(line.c_str(), "r");
    Result result;
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.out.append(buffer, n);
    result.code = WEXITSTATUS(pclose(pipe));
    result.err = read_text(error_file);
    fs::remove(error_file);
    return result;
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  size_t files() const {
    return size_t(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  // Five training rows, three test rows, their pictures, and a tiny model with random weights in ./model.
  void make_model() const {
    fs::create_directories(folder_ / "train/Set");
    fs::create_directories(folder_ / "test/Set");
    std::string train, test;
    for (int i = 0; i < 5; ++i) {
      Image picture(16, 32, 3);
      for (size_t p = 0; p < picture.pixels.size(); ++p) picture.pixels[p] = uint8_t(p * size_t(i + 3));
      const std::string name = "p" + std::to_string(i) + ".png", label = "thing " + std::to_string(i);
      write_png(folder_ / "train" / name, picture);
      write_png(folder_ / "test" / name, picture);
      train +=
          Json{
              {"qry", "<|image_1|>\nName it.\n"}, {"qry_image_path", name}, {"pos_text", label}, {"pos_image_path", ""}}
              .dump() +
          "\n";
      if (i < 3)
        test += Json{{"qry_text", "<|image_1|>\nName it.\n"},
                     {"qry_img_path", name},
                     {"tgt_text", {label, "thing 7"}},
                     {"tgt_img_path", {"", ""}}}
                    .dump() +
                "\n";
    }
    write("train/Set/original.jsonl", train);
    write("test/Set/test.jsonl", test);
    write("test/tasks.json", R"({"datasets": [{"name": "Set", "meta_task": "classification", "split": "IND"}]})");
    write("config.json",
          R"({"model_type": "qwen2_vl", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "vocab_size": 300,
      "image_token_id": 1, "rope_scaling": {"mrope_section": [2, 1, 1]},
      "vision_config": {"depth": 1, "embed_dim": 16, "hidden_size": 16,
      "num_heads": 2, "patch_size": 8}})");
    const Result init =
        run("init --config config.json --train_tokenizer train --min_pixels 64 --max_pixels 4096 --output_dir model "
            "--quiet");
    ASSERT_EQ(init.code, 0) << init.err;
  }

  const TemporaryFolder folder_{"cli"};
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The names of all commands, as the listing shows them.
std::vector<std::string> commands(const std::string& listing) {
  std::vector<std::string> names;
  std::istringstream lines(listing);
  for (std::string line; std::getline(lines, line);)
    if (std::smatch match; std::regex_match(line, match, std::regex("  (\\w+(?: \\w+)?)  +\\S.*")))
      names.push_back(match[1]);
  return names;
}

TEST_F(Cli, WithoutOrWithAnUnknownCommandListsTheCommands) {
  const Result none = run("");
  EXPECT_EQ(none.code, 2);
  EXPECT_EQ(none.out, "");
  EXPECT_TRUE(has(none.err, "Usage:") && has(none.err, "tokenize"));
  const Result unknown = run("tokenise --text x");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_TRUE(has(unknown.err, "nearest is \"tokenize\"")) << unknown.err;
  EXPECT_TRUE(has(run("data mimi").err, "nearest is \"data mini\""));
  const Result help = run("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_TRUE(has(help.out, "Usage:"));
}

TEST_F(Cli, HelpOfEveryCommandHasPurposeDefaultsAndAnExample) {
  const std::vector<std::string> all = commands(run("--help").out);
  EXPECT_GE(all.size(), 8u);
  for (const std::string& command : all) {
    const Result help = run(command + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_TRUE(has(help.out, "Example:\n  vlm2vec " + command)) << help.out;
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(help.out[0]))) << help.out;
    std::istringstream lines(help.out);
    int options = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  --")) continue;
      ++options;
      EXPECT_EQ(line.back(), ']') << command << ": no default in: " << line;
    }
    EXPECT_GE(options, 1) << command;
  }
}

TEST_F(Cli, UnknownOptionNamesTheNearest) {
  const Result r = run("train --model_name x --output_dir y --learning_rat 1");
  EXPECT_EQ(r.code, 2);
  EXPECT_TRUE(has(r.err, "--learning_rat;") && has(r.err, "--learning_rate")) << r.err;
  const Result word = run("version please");
  EXPECT_EQ(word.code, 2);
  EXPECT_TRUE(has(word.err, "\"please\"")) << word.err;
}

TEST_F(Cli, WrongValuesSayWhatCameAndWhatWasExpected) {
  const std::string train = "train --model_name x --output_dir y --dataset_name z ";
  const std::pair<std::string, std::string> cases[] = {
      {"--max_steps 1.5", "\"1.5\", expected a whole number"},
      {"--seed -1", "\"-1\", expected a whole number, not negative"},
      {"--max_steps 99999999999999999999", "expected a whole number"},
      {"--learning_rate fast", "\"fast\", expected a number"},
      {"--learning_rate nan", "\"nan\", expected a number"},
      {"--lora maybe", "\"maybe\", expected True or False"},
      {"--lora=", "expected True or False"},
      {"--max_steps 1 --max_steps 2", "given 2 times"},
      {"--max_steps --lora", "the option --lora follows"},
      {"--threads 0", "expected 1 to 1024"},
      {"--device tpu", "tpu"},
      {"--temperature -1", "--temperature"},
      {"--max_steps", "--max_steps"},
  };
  for (const auto& [option, message] : cases) {
    const Result r = run(train + option);
    EXPECT_EQ(r.code, 2) << option << ": " << r.err;
    EXPECT_TRUE(has(r.err, message)) << option << ": " << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << "one sentence: " << r.err;
  }
  const Result missing = run("embed --input rows.jsonl --output x.npy");
  EXPECT_EQ(missing.code, 2);
  EXPECT_TRUE(has(missing.err, "--model_name is missing")) << missing.err;
}

TEST_F(Cli, MissingAndBrokenDataAreExit3AndLeaveNothing) {
  EXPECT_EQ(run("tokenize --model_name nowhere --text x").code, 3);
  EXPECT_EQ(run("eval --model_name nowhere --dataset_name nowhere --encode_output_path out").code, 3);
  EXPECT_EQ(run("train --model_name nowhere --dataset_name nowhere --output_dir out").code, 3);
  EXPECT_EQ(run("init --config nowhere.json --tokenizer nowhere --output_dir out").code, 3);
  EXPECT_EQ(files(), 0u) << "something was left";
  write("config.json", "{");
  EXPECT_EQ(run("init --config config.json --tokenizer . --output_dir out").code, 3);
  EXPECT_EQ(files(), 1u);
}

TEST_F(Cli, NoGpuIsExit5) {
  const Result r = run("eval --model_name x --dataset_name y --encode_output_path z --device cuda");
  EXPECT_EQ(r.code, 5);
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
}

TEST_F(Cli, FullDiskIsExit4) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  EXPECT_EQ(run("version >/dev/full").code, 4);
}

TEST_F(Cli, ThreadsThatTheSystemRefusesAreExit4) {
  const Result r =
      run("selftest --threads 1024", "{ ulimit -s 68719476736 2>/dev/null || exit 77; } && ");  // stacks of 64 TiB
  if (r.code == 77) GTEST_SKIP() << "the stack limit cannot be raised here";
  EXPECT_EQ(r.code, 4);
  EXPECT_TRUE(has(r.err, "ask for fewer with --threads")) << r.err;
}

TEST_F(Cli, VersionIsOneLineOfJson) {
  const Result r = run("version --json");
  ASSERT_EQ(r.code, 0);
  const Json version = Json::parse(r.out);
  EXPECT_TRUE(version.at("libraries").contains("zlib"));
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 1);
}

TEST_F(Cli, DataCatPrintsRowsInTheirOrderOfKeys) {
  write("rows.jsonl", "{\"b\": \"é\", \"a\": null}\n\n{\"b\": 2.50}\n");
  EXPECT_EQ(run("data cat rows.jsonl").out, "{\"b\":\"é\",\"a\":null}\n{\"b\":2.5}\n");
  EXPECT_EQ(run("data cat rows.jsonl rows.jsonl --limit 1").out,
            "{\"b\":\"é\",\"a\":null}\n{\"b\":\"é\",\"a\":null}\n");
  EXPECT_EQ(run("data cat").code, 2);
  write("rows.parquet", "PAR1, and no more");
  const Result broken = run("data cat rows.parquet");
  EXPECT_EQ(broken.code, 3);
  EXPECT_NE(broken.err.find("rows.parquet: does not end with PAR1"), std::string::npos) << broken.err;
}

TEST_F(Cli, OutputsThatWouldDestroySomethingAreRefused) {
  make_model();
  write("rows.jsonl", "{\"text\": \"thing\"}\n");
  const std::string embed = "embed --model_name model --input rows.jsonl --quiet --output ";
  EXPECT_EQ(run(embed + "rows.jsonl").code, 2);
  EXPECT_EQ(read_text(folder_ / "rows.jsonl"), "{\"text\": \"thing\"}\n");
  EXPECT_EQ(run(embed + "model").code, 2);
  EXPECT_EQ(run(embed + "nowhere/x.npy").code, 4);
  fs::create_symlink("real.npy", folder_ / "link.npy");
  write("real.npy", "old");
  EXPECT_EQ(run(embed + "link.npy").code, 0);
  EXPECT_TRUE(fs::is_symlink(folder_ / "link.npy"));
  EXPECT_EQ(read_text(folder_ / "real.npy").substr(1, 5), "NUMPY");
  EXPECT_EQ(run(embed + "pipe", "mkfifo pipe && { timeout 20 cat pipe > got & } && ").code, 0);
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
}

TEST_F(Cli, InitReplacesNothingButACheckpoint) {
  make_model();
  write("thesis/chapter.txt", "years of work");
  const Result r = run("init --config config.json --tokenizer model --output_dir thesis --quiet");
  EXPECT_EQ(r.code, 2);
  EXPECT_TRUE(has(r.err, "chapter.txt")) << r.err;
  EXPECT_EQ(read_text(folder_ / "thesis/chapter.txt"), "years of work");
  EXPECT_EQ(run("init --config config.json --tokenizer half --output_dir model --quiet").code, 3);  // no such tokenizer
  EXPECT_EQ(run("init --config config.json --tokenizer model --output_dir copy --quiet").code, 0);
  EXPECT_EQ(run("init --config config.json --tokenizer model --output_dir copy --seed 2 --quiet").code, 0);
}

TEST_F(Cli, InitWritesACompleteCheckpoint) {
  make_model();
  for (const char* file : {"config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"})
    EXPECT_TRUE(fs::exists(folder_ / "model" / file)) << file;
  EXPECT_EQ(read_json(folder_ / "model/preprocessor_config.json").at("max_pixels"), 4096);
  ASSERT_EQ(
      run("init --config config.json --tokenizer model --min_pixels 64 --max_pixels 4096 --output_dir again --quiet")
          .code,
      0);
  EXPECT_EQ(read_text(folder_ / "model/model.safetensors"), read_text(folder_ / "again/model.safetensors"));
  EXPECT_EQ(read_text(folder_ / "model/tokenizer.json"), read_text(folder_ / "again/tokenizer.json"));
  const Result half =
      run("init --config config.json --tokenizer model --output_dir half --dtype=bf16 --seed 7 --json --quiet");
  ASSERT_EQ(half.code, 0) << half.err;
  EXPECT_EQ(read_json(folder_ / "half/config.json").at("torch_dtype"), "bfloat16");
  int64_t numbers = 0;
  for (const auto& [name, tensor] : load_safetensors(folder_ / "half/model.safetensors")) {
    EXPECT_EQ(int(tensor.dtype()), int(DType::bf16)) << name;
    numbers += tensor.numel();
  }
  EXPECT_EQ(Json::parse(half.out).at("parameters"), numbers);
  const Result both = run("init --config config.json --tokenizer model --train_tokenizer train --output_dir x");
  EXPECT_EQ(both.code, 2) << both.err;
}

TEST_F(Cli, TokenizePrintsIdsAndPieces) {
  make_model();
  write("rows.jsonl", "{\"text\": \"thing\"}\n{\"text\": \"Name it.<|image_pad|>\"}\n");
  const Result lines = run("tokenize --model-name model --input rows.jsonl");
  ASSERT_EQ(lines.code, 0) << lines.err;
  std::istringstream stream(lines.out);
  std::string first, second;
  std::getline(stream, first), std::getline(stream, second);
  EXPECT_EQ(Json::parse(second).at("ids").back(), 1);
  const Json text = Json::parse(run("tokenize --model_name model --text thing --json").out);
  EXPECT_EQ(text.at("ids"), Json::parse(first).at("ids"));
  const std::string prompt = run("tokenize --model_name model --text 'Name \"it\".'").out;
  EXPECT_EQ(prompt.substr(0, prompt.find('\n')), R"(prompt	"Name \"it\".")");
  EXPECT_EQ(Json::parse(run("tokenize --model_name=model --text='Name it.' --max_len 2 --json").out).at("ids").size(),
            2u);
  write("bad.jsonl", "{\"text\": \"thing\"}\n{\"txet\": 1}\n");
  const Result bad = run("tokenize --model_name model --input bad.jsonl");
  EXPECT_EQ(bad.code, 3);
  EXPECT_TRUE(has(bad.err, "bad.jsonl:2:")) << bad.err;
}

TEST_F(Cli, EmbedWritesUnitVectorsWhateverTheBatch) {
  make_model();
  write("rows.jsonl",
        "{\"text\": \"thing\"}\n{\"text\": \"<|image_pad|>\\nName it.\", \"image\": \"train/p1.png\"}\n"
        "{\"text\": \"<|image_pad|><|image_pad|>\", \"image\": [\"train/p1.png\", \"train/p2.png\"]}\n");
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output a.npy --quiet").code, 0);
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output b.npy --quiet --batch_size 1 --threads 1").code,
            0);
  const std::string npy = read_text(folder_ / "a.npy");
  EXPECT_EQ(npy, read_text(folder_ / "b.npy"));
  ASSERT_EQ(npy.size(), 128 + 3 * 16 * 4u);
  EXPECT_EQ(npy.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_TRUE(has(npy, "'descr': '<f4', 'fortran_order': False, 'shape': (3, 16)"));
  for (size_t row = 0; row < 3; ++row) {
    float x[16], square = 0;
    std::memcpy(x, npy.data() + 128 + row * sizeof x, sizeof x);
    for (const float v : x) square += v * v;
    EXPECT_NEAR(square, 1, 1e-6);
  }
  const Result emulated = run("embed --model_name model --input rows.jsonl --output c.npy --quiet --device emu");
  EXPECT_EQ(emulated.code, 0) << emulated.err;

  write("bad.jsonl", "{\"text\": \"<|image_pad|>\", \"image\": \"train/none.png\"}\n");
  const Result bad = run("embed --model_name model --input bad.jsonl --output d.npy --quiet");
  EXPECT_EQ(bad.code, 3);
  EXPECT_TRUE(has(bad.err, "none.png")) << bad.err;
  EXPECT_FALSE(fs::exists(folder_ / "d.npy"));
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output nowhere/d.npy --quiet").code, 4);
  write("bad.jsonl", "\n{\"txet\": \"thing\"}\n");
  const Result nothing = run("embed --model_name model --input bad.jsonl --output d.npy --quiet");
  EXPECT_EQ(nothing.code, 3);
  EXPECT_TRUE(has(nothing.err, "bad.jsonl:2: has neither text nor image")) << nothing.err;
}

// A picture that is black on its left and white on its right half, with a flaw: bytes follow its end.
TEST_F(Cli, ImageDecodesAndResizes) {
  Image halves(4, 2, 1);
  for (int y = 0; y < 2; ++y) halves.at(y, 2)[0] = halves.at(y, 3)[0] = 255;
  write_png(folder_ / "halves.png", halves);
  write("halves.png", read_text(folder_ / "halves.png") + "?");
  write("black.pbm", "P1 1 1 1");

  const Result one = run("image halves.png --output a.npy --json");
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(one.err, "halves.png: 1 byte follows the end of the picture\n");
  EXPECT_EQ(Json::parse(one.out).at("pictures")[0].at("width"), 4);
  const std::string npy = read_text(folder_ / "a.npy");
  EXPECT_TRUE(has(npy, "'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 3), }"));
  EXPECT_EQ(npy.substr(128),
            std::string(6, '\0') + std::string(6, '\xFF') + std::string(6, '\0') + std::string(6, '\xFF'));

  ASSERT_EQ(run("image --resize 2x1 halves.png --filter=box --output b.png --quiet").code, 0);
  EXPECT_EQ(read_rgb(folder_ / "b.png").pixels, (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
  ASSERT_EQ(run("image halves.png black.pbm --output all --resize 3x1 --filter nearest --quiet").code, 0);
  EXPECT_EQ(read_text(folder_ / "all/black.pbm.npy").substr(128), std::string(9, '\0'));
  EXPECT_EQ(read_text(folder_ / "all/halves.png.npy").size(), 128 + 9u);

  EXPECT_TRUE(has(run("image --output a.npy").err, "FILE... is missing"));
  EXPECT_TRUE(has(run("image black.pbm --output a.jpg").err, "ends in .npy or .png"));
  EXPECT_TRUE(has(run("image black.pbm --output a.npy --resize 3").err, "expected WIDTHxHEIGHT"));
  EXPECT_TRUE(has(run("image black.pbm --output a.npy --resize 3x3 --filter soft").err, "no filter \"soft\""));
  EXPECT_EQ(run("image black.pbm --output a.npy --own_mode").code, 2);
  EXPECT_EQ(run("image black.pbm all/../black.pbm --output all").code, 2);
  const Result text = run("image config.txt --output a.npy", "echo no picture >config.txt; ");
  EXPECT_EQ(text.code, 3);
  EXPECT_TRUE(has(text.err, "config.txt: is no picture of a known format"));
}

TEST_F(Cli, ImageResolutionIsV1AndFlawsAreCounted) {
  make_model();
  for (const char* name : {"p1.png", "p2.png"}) {
    const std::string picture = read_text(folder_ / "train" / name);
    write(std::string("train/") + name, picture + "?"), write(std::string("test/") + name, picture + "?");
  }
  write("rows.jsonl",
        "{\"text\": \"<|image_pad|>\", \"image\": \"train/p1.png\"}\n"
        "{\"text\": \"<|image_pad|><|image_pad|>\", \"image\": [\"train/p1.png\", \"train/p2.png\"]}\n");
  const std::string embed = "embed --model_name model --input rows.jsonl --output ";
  const std::string note = "2 pictures were read in spite of flaws; the first by name: train/p1.png: 1 byte follows";
  const Result plain = run(embed + "a.npy");
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_TRUE(has(plain.err, note)) << plain.err;
  ASSERT_EQ(run(embed + "b.npy --image_resolution low --quiet").code, 0);
  ASSERT_EQ(run(embed + "c.npy --image_resolution small --quiet").code, 0);  // no side is above 1344
  EXPECT_NE(read_text(folder_ / "a.npy"), read_text(folder_ / "b.npy"));
  EXPECT_EQ(read_text(folder_ / "a.npy"), read_text(folder_ / "c.npy"));

  const Result train =
      run("train --model_name model --dataset_name train --per_device_train_batch_size 5 --max_steps 1 "
          "--image_resolution low --output_dir out");
  EXPECT_EQ(train.code, 0) << train.err;
  EXPECT_TRUE(has(train.err, "2 pictures were read in spite of flaws")) << train.err;
  const Result eval =
      run("eval --model_name model --dataset_name test --encode_output_path scores --image_resolution low");
  EXPECT_EQ(eval.code, 0) << eval.err;
  EXPECT_TRUE(has(eval.err, "2 pictures were read in spite of flaws")) << eval.err;
}

TEST_F(Cli, TrainsAndEvaluates) {
  make_model();
  const std::string train = "train --model_name model --dataset_name train --per_device_train_batch_size 4 --quiet ";
  const Result cpu = run(train + "--output_dir out --max_steps 2 --gc-q-chunk-size 3 --json --lora=false");
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  EXPECT_EQ(cpu.err, "");
  EXPECT_EQ(Json::parse(cpu.out).at("steps"), 2);
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors"));
  const Result emulated =
      run(train +
          "--output_dir emu --max_steps 1 --device emu --lora --use_dora False --lora_target_modules q_proj v_proj");
  EXPECT_EQ(emulated.code, 0) << emulated.err;

  const Result eval =
      run("eval --model_name out --dataset_name test --encode_output_path scores/one --quiet --json --subset_name Set");
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(Json::parse(eval.out).at("datasets").at("Set").at("rows"), 3);
  const Result table = run(
      "eval --model_name model --adapter emu --dataset_name test --encode_output_path scores/two --beside scores/one");
  ASSERT_EQ(table.code, 0) << table.err;
  EXPECT_TRUE(has(table.out, "chance") && has(table.out, "one") && has(table.out, "two")) << table.out;
}

TEST_F(Cli, TrainsAppliesAndMergesAnAdapter) {
  make_model();
  const Result trained = run(
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 3 --learning_rate 0.1 "
      "--lr_scheduler_type constant --lora --output_dir adapter");
  ASSERT_EQ(trained.code, 0) << trained.err;
  write("rows.jsonl", "{\"text\": \"thing 1\"}\n");
  const auto embed = [&](const std::string& model, const std::string& more = "") {
    const Result result = run("embed --model_name " + model + " --input rows.jsonl --output x.npy " + more);
    EXPECT_EQ(result.code, 0) << result.err;
    const std::string npy = read_text(folder_ / "x.npy");
    std::vector<float> numbers(16);
    std::memcpy(numbers.data(), npy.data() + npy.size() - 64, 64);
    return std::pair(numbers, result.err);
  };
  const auto [adapted, notes] = embed("model", "--adapter adapter --adapter_norms");
  EXPECT_TRUE(has(notes, "adapter: 7 of 7 modules matched\n")) << notes;
  EXPECT_TRUE(has(notes, "adapter: model.layers.0.mlp.down_proj: rank 16, |sBA| ")) << notes;
  const Result merge = run("merge --model_name model --adapter adapter --output_dir merged --json");
  ASSERT_EQ(merge.code, 0) << merge.err;
  EXPECT_EQ(Json::parse(merge.out).at("merged"), 7);
  EXPECT_TRUE(has(merge.err, "adapter: 7 of 7 modules matched\nmerged: 7 weights merged\n")) << merge.err;
  const auto merged = embed("merged").first, plain = embed("model").first;
  float moved = 0;
  for (size_t i = 0; i < merged.size(); ++i) {
    EXPECT_NEAR(merged[i], adapted[i], 2e-6);
    moved = std::max(moved, std::abs(plain[i] - adapted[i]));
  }
  EXPECT_GT(moved, 1e-3);

  NamedTensors more = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
  for (const std::string part : {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"})
    more.emplace("base_model.model.model.layers.5.mlp.up_proj." + part,
                 more.at("base_model.model.model.layers.0.mlp.up_proj." + part));
  save_safetensors(folder_ / "adapter/adapter_model.safetensors", more);
  const std::string part = "embed --model_name model --input rows.jsonl --output x.npy --adapter adapter";
  const Result refused = run(part);
  EXPECT_EQ(refused.code, 3);
  EXPECT_TRUE(has(refused.err, "7 of 8 modules matched")) << refused.err;
  EXPECT_EQ(embed("model", "--adapter adapter --allow_partial_adapter").first, adapted);
  EXPECT_EQ(run("merge --model_name model --adapter adapter --output_dir train").code, 3);
  EXPECT_EQ(run("merge --model_name model --adapter adapter --allow_partial_adapter --output_dir train").code, 2);
}

TEST_F(Cli, EmbedBuildsPromptsAndSaysHow) {
  make_model();
  write("stored.jsonl", "{\"text\": \"<|image_1|>\\nName it. thing\\n\", \"image\": \"train/p1.png\"}\n");
  write("parts.jsonl", "{\"instruction\": \"Name it.\", \"text\": \"thing\", \"image\": \"train/p1.png\"}\n");
  const auto embedded = [&](const std::string& options) {
    const Result r = run("embed --model_name model --output e.npy --quiet " + options);
    EXPECT_EQ(r.code, 0) << r.err;
    return read_text(folder_ / "e.npy");
  };
  const std::string stored = embedded("--input stored.jsonl --prompt vlm2vec-v1");
  EXPECT_EQ(embedded("--input parts.jsonl --prompt vlm2vec-v1"), stored);
  EXPECT_NE(embedded("--input parts.jsonl --prompt vlm2vec-v2"), stored);
  EXPECT_EQ(read_json(folder_ / "e.npy.json").at("prompt"), "vlm2vec-v2");
  EXPECT_NE(embedded("--input stored.jsonl --prompt vlm2vec-v1 --precision bf16"), stored);
  EXPECT_EQ(read_json(folder_ / "e.npy.json").at("precision"), "bf16");
  const Result raw = run("embed --model_name model --input parts.jsonl --output f.npy");
  EXPECT_EQ(raw.code, 3);
  EXPECT_TRUE(has(raw.err, "parts.jsonl:1: has an instruction, but the prompt is raw")) << raw.err;
  EXPECT_EQ(run("embed --model_name model --input parts.jsonl --output f.npy --prompt v3").code, 2);
  EXPECT_EQ(run("embed --model_name model --input parts.jsonl --output f.npy --precision f16").code, 2);
}

TEST_F(Cli, ExplainsAndCertifiesEveryStage) {
  make_model();
  const Result table =
      run("explain --model_name model --text '<|image_pad|> Name it.' --image train/p1.png --dump one.safetensors");
  ASSERT_EQ(table.code, 0) << table.err;
  for (const char* stage : {"input_ids", "pixel_values", "vision_merger", "hidden_layer_0", "embedding"})
    EXPECT_TRUE(has(table.out, stage)) << table.out;
  EXPECT_EQ(load_safetensors(folder_ / "one.safetensors").at("embedding").numel(), 16);

  fs::create_directories(folder_ / "reference");
  fs::rename(folder_ / "one.safetensors", folder_ / "reference/one.safetensors");
  fs::copy_file(folder_ / "train/p1.png", folder_ / "reference/p1.png");
  write("reference/cases.json",
        "[{\"name\": \"one\", \"text\": \"<|image_pad|> Name it.\", \"images\": [\"p1.png\"]}]");
  const std::string parity = "parity --model_name model --reference reference ";
  const Result same = run(parity);
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  const auto certificate = read_json(folder_ / "reference/parity.json");
  EXPECT_EQ(certificate.at("ok"), true);
  EXPECT_EQ(certificate.at("maximum_error").at("embedding"), 0);
  EXPECT_EQ(certificate.at("files").at("model.safetensors").get<std::string>().size(), 64u);

  const Result narrow = run(parity + "--precision bf16 --output other.json");
  EXPECT_EQ(narrow.code, 1);
  EXPECT_TRUE(has(narrow.out, "DIVERGES at vision_block_0")) << narrow.out;
  EXPECT_EQ(read_json(folder_ / "other.json").at("cases")[0].at("first_divergence"), "vision_block_0");
}

}  // namespace
}  // namespace vlm2vec
