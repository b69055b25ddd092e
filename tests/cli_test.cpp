// The program as its users and their scripts meet it: its options, errors and exit codes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <regex>
#include <set>

#include "cli_fixture.h"
#include "no_threads.h"
#include "parquet_writer.h"

namespace vlm2vec {
namespace {

// The names of all commands, as the listing shows them.
std::vector<std::string> commands(const std::string& listing) {
  std::vector<std::string> names;
  std::istringstream lines(listing);
  for (std::string line; std::getline(lines, line);)
    if (std::smatch match; std::regex_match(line, match, std::regex("  ([a-z]+(?: [a-z]+)?)  +\\S.*")))
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
  EXPECT_TRUE(has(help.out, "Exit codes:\n  0  ok\n") && has(help.out, "\n  5  ") &&
              has(help.out, "129  ended by SIGHUP, 130 by Ctrl-C, 143 by SIGTERM"));
  const Result data = run("data --help");
  EXPECT_EQ(data.code, 0);
  EXPECT_TRUE(has(data.out, "data leaks") && !has(data.out, "tokenize")) << data.out;
  EXPECT_EQ(run("data").code, 2);
  EXPECT_EQ(run("data cta").code, 2);
  EXPECT_TRUE(has(run("data cta").err, "no command \"data cta\"; the nearest is \"data cat\""));
  EXPECT_TRUE(has(run("finetune").err, "the nearest is \"train\"; see " PROGRAM " --help"));
  EXPECT_TRUE(has(run("xyzzy").err, "no command \"xyzzy\"; see " PROGRAM " --help"));
  EXPECT_EQ(run("--version").out, run("version").out);
}

// The same layout everywhere: purpose, usage, each option with its value's kind and default, an example.
TEST_F(Cli, HelpOfEveryCommandHasPurposeDefaultsAndAnExample) {
  const std::vector<std::string> all = commands(run("--help").out);
  EXPECT_GE(all.size(), 22u);
  const std::set<std::string> texts = {"instruction", "model_size", "target", "text"};
  for (const std::string& command : all) {
    const Result help = run(command + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_TRUE(has(help.out, "\n\nUsage: " PROGRAM " " + command + " ")) << help.out;
    EXPECT_TRUE(has(help.out, "\n\nExample:\n  " PROGRAM " " + command)) << help.out;
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(help.out[0]))) << help.out;
    EXPECT_EQ(help.out.find(".\n\nUsage:"), help.out.find('\n') - 1) << "the purpose is a sentence: " << help.out;
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_TRUE(has(line, PROGRAM) || line.size() <= 108) << line;  // of 100 letters
    std::string page = help.out.substr(0, help.out.find("  -h, --help"));
    int options = 0;
    for (size_t at = 0; (at = page.find("\n  --", at)) != std::string::npos; ++options) {
      const size_t end = std::min({page.find("\n  --", at + 1), page.find("\n\n", at + 1), page.size() - 1});
      std::string entry = page.substr(at + 5, end - at - 5), name, kind;
      std::istringstream(entry) >> name >> kind;
      const bool has_default = std::regex_search(entry, std::regex("\\[[^\\[\\]]+\\]$"));
      const bool may_be_unset = kind != "N" && kind != "X" && (kind != "[True|False]" || name == "official_mask");
      EXPECT_FALSE(entry.ends_with(" []")) << entry;
      EXPECT_TRUE(has_default || may_be_unset) << command << ": no default in: " << entry;
      EXPECT_TRUE(!entry.ends_with("[none]") || has("|" + kind + "|", "|none|")) << "none is no value: " << entry;
      EXPECT_TRUE(kind != "TEXT" || texts.contains(name)) << command << " --" << name << " takes no text";
      at = end;
    }
    EXPECT_GE(options, command == "completion" ? 0 : 1) << command;
  }
}

// Nobody who pipes, and nobody who sets NO_COLOR, gets escape codes: there are none, even on a terminal.
TEST_F(Cli, PrintsNoEscapeCodes) {
  make_model();
  const std::string train =
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 2 --output_dir ";
  const Result piped = run(train + "a");
  EXPECT_EQ(piped.code, 0) << piped.err;
  EXPECT_FALSE(has(piped.err, "\x1b") || has(piped.err, "\r")) << piped.err;
  if (std::system("command -v script >/dev/null") != 0) GTEST_SKIP() << "needs script(1) for a terminal";
  for (const std::string variable : {"", "NO_COLOR=1 "}) {
    write("line", variable + "'" PROGRAM "' " + train + "b && rm -r b");
    const Result terminal = run("version >/dev/null && script -qec 'sh line' /dev/null </dev/null");
    EXPECT_EQ(terminal.code, 0) << terminal.out;
    EXPECT_TRUE(has(terminal.out, "\r")) << "no terminal: " << terminal.out;
    EXPECT_FALSE(has(terminal.out, "\x1b")) << terminal.out;
  }
}

TEST_F(Cli, DoctorMeasuresInSeconds) {
  const auto begin = std::chrono::steady_clock::now();
  const Result r = run("doctor --json");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  ASSERT_EQ(r.code, 0) << r.err;
  const Json found = Json::parse(r.out);
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 1);
  EXPECT_GT(found.at("read_bandwidth_gb_per_s"), 0.1);
  EXPECT_EQ(found.at("fma_peak_gflops_one_core") > 1, found.at("instruction_set") != "base");
  EXPECT_GT(found.at("available_memory_bytes"), 1 << 20);
  EXPECT_EQ(found.at("instruction_set"), Json::parse(run("version --json").out).at("instruction_set"));
  EXPECT_EQ(run("doctor", "VLM2VEC_ISA=base ").code, 0);
  EXPECT_LT(seconds.count(), 15) << "expected 3 s on an idle machine";
}

// Processor time, the best of ten: what neighbours take does not count.
// What would slow every command down (tables built before main, files read at once) touches memory.
TEST_F(Cli, HelpTouchesFewPages) {
  if (has(run("version").out, "sanitizers")) GTEST_SKIP() << "sanitizers map shadow memory";
  const auto pages = [] {
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    return usage.ru_minflt;
  };
  const long before = pages();
  ASSERT_EQ(std::system("'" PROGRAM "' --help >/dev/null"), 0);
  EXPECT_LE(pages() - before, 1200);  // about 500: half of them map the shared libraries
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
      {"--max_steps 1.5 --max_steps 2", "\"1.5\", expected a whole number"},
      {"--max_steps --max_steps 2", "--max_steps has no value: the option --max_steps follows"},
      {"--max_steps --lora", "the option --lora follows"},
      {"--threads 0", "expected 1 to 1024"},
      {"--device tpu", "tpu"},
      {"--temperature -1", "--temperature"},
      {"--max_steps", "--max_steps"},
      {"--interleave_batch_size 4", "--homogeneous_batch_size_per_device have no effect without --sampling"},
      {"--split_name a/b", "--dataset_split: got \"a/b\", expected a name"},
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

TEST_F(Cli, OptionsThatWouldHaveNoEffectAreRefused) {
  make_model();
  write("rows.jsonl", "{\"text\": \"thing\"}\n");
  const std::string train = "train --model_name model --dataset_name train --output_dir out --quiet ";
  EXPECT_TRUE(has(run(train + "--lora_r 4").err, "no effect without --lora True"));
  const std::string batches = "train --model_name x --output_dir y --train_file z --batches b ";
  EXPECT_TRUE(has(run(batches + "--per_device_train_batch_size 4").err, "has no effect with --batches"));
  EXPECT_EQ(run(train + "--use_dora False").code, 2);
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output e.npy --adapter_norms").code, 2);
  EXPECT_EQ(run("data cat rows.jsonl --columns text").code, 2);
  EXPECT_EQ(run("image train/p1.png train/p2.png --output both.npy").code, 2);
  EXPECT_EQ(run("explain --model_name model").code, 2);
  EXPECT_FALSE(fs::exists(folder_ / "out") || fs::exists(folder_ / "e.npy") || fs::exists(folder_ / "both.npy"));
}

TEST_F(Cli, EvalLooksForEveryPictureFirst) {
  make_model();
  fs::remove(folder_ / "test/p1.png");
  const Result r = run("eval --model_name model --dataset_name test --encode_output_path scores");
  EXPECT_EQ(r.code, 3);
  EXPECT_TRUE(has(r.err, "test/p1.png: no such file; row 2 of Set names this picture")) << r.err;
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
  hides_gpu_ = true;
  const Result r = run("eval --model_name x --dataset_name y --encode_output_path z --device cuda");
  EXPECT_EQ(r.code, 5);
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
}

TEST_F(Cli, FullDiskIsExit4) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  EXPECT_EQ(run("version >/dev/full").code, 4);
}

TEST_F(Cli, ThreadsThatTheSystemRefusesAreExit4) {
  const Result r = without_threads([&] { return run("selftest --threads 2"); });
  EXPECT_EQ(r.code, 4);
  EXPECT_TRUE(has(r.err, "use a smaller number")) << r.err;
}

TEST_F(Cli, VersionIsOneLineOfJson) {
  const Result r = run("version --json");
  ASSERT_EQ(r.code, 0);
  const Json version = Json::parse(r.out);
  for (const char* library : {"zlib", "libzip", "pcre2", "libcrypto", "glibc"})
    EXPECT_TRUE(version.at("libraries").contains(library)) << library;
  EXPECT_TRUE(has(version.at("build"), "-O") && has(version.at("compiler"), "g++")) << r.out;
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

TEST_F(Cli, DataCatSaysWhatJsonCannotHold) {
  using namespace parquet_writer;
  const uint32_t one = 0x3F800000, infinite = 0x7F800000, nan = 0x7FC00000;
  for (const auto& [page, printed, note] : std::vector<std::tuple<Page, std::string, std::string>>{
           {{2, 2, words({one, one})}, "{\"x\":1.0}\n{\"x\":1.0}\n", ""},
           {{2, 2, words({one, nan})},
            "{\"x\":1.0}\n{\"x\":null}\n",
            "x.parquet: 1 number is NaN or infinite; JSON has no such numbers, so they are printed as null\n"},
           {{2, 2, words({infinite, nan})},
            "{\"x\":null}\n{\"x\":null}\n",
            "x.parquet: 2 numbers are NaN or infinite; JSON has no such numbers, so they are printed as null\n"}}) {
    write("x.parquet", file({leaf("x", float32, required)}, float32, page));
    const Result r = run("data cat x.parquet");
    EXPECT_EQ(r.out, printed);
    EXPECT_EQ(r.err, note);
  }
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
  EXPECT_EQ(run(embed + "link.npy").code, 2) << "the link leads to a file of another kind";
  EXPECT_EQ(read_text(folder_ / "real.npy"), "old");
  fs::remove(folder_ / "real.npy");
  EXPECT_EQ(run(embed + "real.npy").code, 0);
  EXPECT_EQ(run(embed + "link.npy").code, 0);
  EXPECT_TRUE(fs::is_symlink(folder_ / "link.npy"));
  EXPECT_EQ(read_text(folder_ / "real.npy").substr(1, 5), "NUMPY");
  EXPECT_EQ(run(embed + "pipe", "mkfifo pipe && { timeout 20 cat pipe > got & } && ").code, 0);
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
}

}  // namespace
}  // namespace vlm2vec
