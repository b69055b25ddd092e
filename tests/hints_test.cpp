// What unknown options, commands and names are taken for, and that nothing is suggested where nothing is near.
#include "cli/hints.h"

#include "cli_fixture.h"
#include "io/error.h"
#include "io/nearest.h"

namespace vlm2vec {
namespace {

TEST(Nearest, prefers_parts_of_names_to_letters) {
  const std::vector<std::string> words = {"model_name", "mode", "per_device_eval_batch_size", "lora_r",
                                          "learning_rate"};
  EXPECT_EQ(nearest("model", words), "model_name");
  EXPECT_EQ(nearest("batch_size", words), "per_device_eval_batch_size");
  EXPECT_EQ(nearest("learning-rates", words), "learning_rate");
  EXPECT_EQ(nearest("leanring_rate", words), "learning_rate");
  EXPECT_EQ(nearest("learning_rate_value", words), "learning_rate");
  EXPECT_EQ(nearest("mdoe", {"mode"}), "mode") << "a swap of neighbours is one edit";
  EXPECT_EQ(nearest("mdeo", {"mode"}), "") << "two edits of four letters";
  for (const char* far : {"config", "gpu", "lr", "x", "", "-", "quantization"})
    EXPECT_EQ(nearest(far, words), "") << far;
  EXPECT_EQ(nearest("a", {}), "");
  EXPECT_EQ(nearest_hint("cat", {"dog"}), "; there is dog");
  EXPECT_EQ(nearest_hint("xyz", {"a", "b"}), "; there are a, b");
  EXPECT_EQ(nearest_hint("xyz", {"a", "b", "c", "d", "e", "f", "g", "h"}), "; there are a, b, c, d and 4 more");
}

TEST_F(Cli, UnknownOptionsAreTakenForWhatTheyMeanElsewhere) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"train", "model", "model_name"},
      {"train", "lr", "learning_rate"},
      {"train", "batch_size", "per_device_train_batch_size"},
      {"eval", "batch_size", "per_device_eval_batch_size"},
      {"embed", "batch", "batch_size"},
      {"train", "epochs", "num_train_epochs"},
      {"train", "steps", "max_steps"},
      {"train", "lora_rank", "lora_r"},
      {"train", "data", "dataset_name"},
      {"embed", "data", "input"},
      {"search", "top_k", "top"},
      {"search", "query", "text"},
      {"train", "output", "output_dir"},
      {"eval", "output", "encode_output_path"},
      {"embed", "output-file", "output"},
      {"embed", "gpu", "device"},
      {"train", "config", "dataset_config"},
      {"init", "cfg", "config"},
      {"embed", "MAX_PIXELS", "resize_max_pixels"},
      {"tokenize", "max_length", "max_len"},
      {"train", "learning_rat", "learning_rate"},
      {"train", "per_device_batch_size", "per_device_train_batch_size"},
  };
  for (const auto& [command, unknown, meant] : cases) {
    const Result r = run(sentence(command, " --", unknown, " 1"));
    EXPECT_EQ(r.code, 2);
    EXPECT_TRUE(r.err.ends_with(sentence("; the nearest is --", meant, "\n"))) << unknown << ": " << r.err;
  }
  EXPECT_TRUE(run("embed -o x").err.ends_with("there is no option -o; the nearest is --output\n"));
}

// Neither what a command does not have, nor an option that it takes only to ignore it.
TEST_F(Cli, OptionsThatResembleNothingAreNotTakenForOthers) {
  for (const char* line :
       {"embed --lr", "compare --model", "train --ddp_timeoutt", "eval --flash_attn", "train --lora_bias",
        "version --gpu", "embed --quantization", "train -", "train --dataloader_num_worker"}) {
    const Result r = run(line);
    EXPECT_EQ(r.code, 2);
    EXPECT_TRUE(
        has(r.err, "; see " PROGRAM " " + std::string(line).substr(0, std::string(line).find(' ')) + " --help\n"))
        << line << ": " << r.err;
  }
}

TEST(Hints, commands) {
  const std::vector<std::string> known = {"train", "eval", "search", "embed", "data check", "data cat"};
  EXPECT_EQ(likely_command("fine-tune", known), "train");
  EXPECT_EQ(likely_command("serve", known), "search");
  EXPECT_EQ(likely_command("check", known), "data check");
  EXPECT_EQ(likely_command("data chekc", known), "data check");
  EXPECT_EQ(likely_command("trian", known), "train");
  EXPECT_EQ(likely_command("--verison", {"version"}), "version");
  EXPECT_EQ(likely_command("info", known), "") << "doctor is not among them";
}

}  // namespace
}  // namespace vlm2vec
