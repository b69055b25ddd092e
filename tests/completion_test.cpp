// What bash offers after TAB: the script that `completion bash` prints, sourced in a real bash.
#include <algorithm>
#include <sstream>

#include "cli_fixture.h"

namespace vlm2vec {
namespace {

class Completion : public Cli {
 protected:
  // The offers for the last of the words.
  std::vector<std::string> offers(const std::string& words) const {
    write("ask", "source <('" PROGRAM "' completion bash); COMP_WORDS=('" PROGRAM "' " + words +
                     "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _vlm2vec; printf \"%s\\n\" \"${COMPREPLY[@]}\"\n");
    const Result shell = run("version >/dev/null && bash --norc ask");
    EXPECT_EQ(shell.err, "");
    std::istringstream lines(shell.out);
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) found.push_back(line);
    return found;
  }
  bool offered(const std::string& words, const std::string& offer) const {
    const auto found = offers(words);
    return std::find(found.begin(), found.end(), offer) != found.end();
  }
};
using Words = std::vector<std::string>;

TEST_F(Completion, OfCommands) {
  EXPECT_EQ(offers("tok"), Words{"tokenize"});
  EXPECT_TRUE(offered("''", "data") && offered("''", "train") && offered("''", "version"));
  EXPECT_EQ(offers("data m"), Words{"mini"});
  EXPECT_EQ(offers("data ''").size(), 6u);
  EXPECT_EQ(offers("nonsense"), Words{});
}

TEST_F(Completion, OfOptions) {
  EXPECT_EQ(offers("train --lora_ta"), Words{"--lora_target_modules"});
  EXPECT_EQ(offers("data mini --train"), Words{"--train_rows"});
  EXPECT_TRUE(offered("eval -", "--help") && offered("eval -", "--num_candidates"));
  EXPECT_FALSE(offered("eval -", "--lora_r"));
}

TEST_F(Completion, OfValues) {
  EXPECT_EQ(offers("embed --prompt vlm2vec-v"), (Words{"vlm2vec-v1", "vlm2vec-v2"}));
  EXPECT_EQ(offers("embed --device = c"), (Words{"cpu", "cuda"}));  // --device=c is three words for bash
  EXPECT_EQ(offers("train --lora T"), Words{"True"});
  fs::create_directory(folder_ / "my model");
  write("my rows.jsonl", "");
  EXPECT_EQ(offers("train --model_name my"), Words{"my model"});
  EXPECT_EQ(offers("train --model-name my"), Words{"my model"});
  EXPECT_EQ(offers("embed --input 'my r'"), Words{"my rows.jsonl"});
  EXPECT_EQ(offers("data cat my").size(), 2u);
  EXPECT_EQ(offers("train --max_steps my"), Words{});
}

}  // namespace
}  // namespace vlm2vec
