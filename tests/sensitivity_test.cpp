// What a score hangs on: the number of candidates, the tie rule, the words of the instruction.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "expect_error.h"
#include "io/files.h"
#include "mmeb/evaluation/candidate_lists.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/ranking.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

using Lists = std::vector<std::vector<int32_t>>;

// A set with these candidates, of which each is the side of its number.
EvaluationSet set_of(const Lists& lists) {
  EvaluationSet set;
  set.name = "S";
  for (const auto& list : lists) {
    set.lists.emplace_back(list);
    for (const int32_t number : list)
      while (int32_t(set.candidates.size()) <= number) set.candidates.push_back({int32_t(set.candidates.size()), ""});
  }
  set.sides.resize(set.candidates.size());
  return set;
}
Lists with_num_candidates(const Lists& lists, int64_t n, uint64_t seed) {
  Lists chosen;
  for (const CandidateList& list : with_num_candidates(set_of(lists), n, seed)) chosen.push_back(list.numbers());
  return chosen;
}

TEST(NumCandidates, keeps_the_positive_and_draws_others) {
  const Lists lists = {{7, 1, 2, 2, 7, 3}, {4, 5}, {0, 1, 2, 3, 4, 5, 6}};
  for (const int64_t n : {2, 3, 5, 8, 100}) {
    const Lists chosen = with_num_candidates(lists, n, 1);
    ASSERT_EQ(chosen.size(), lists.size());
    for (size_t row = 0; row < lists.size(); ++row) {
      const auto& c = chosen[row];
      EXPECT_EQ(c.size(), size_t(std::min<int64_t>(n, 8))) << "the set has 8 candidates";
      EXPECT_EQ(c[0], lists[row][0]);
      EXPECT_EQ(std::set<int32_t>(c.begin(), c.end()).size(), c.size()) << "all different";
      const std::set<int32_t> own(lists[row].begin(), lists[row].end());
      const auto kept = std::count_if(c.begin(), c.end(), [&](int32_t x) { return own.contains(x); });
      EXPECT_EQ(kept, std::min(n, int64_t(own.size()))) << "its own come first";
    }
  }
  EXPECT_EQ(with_num_candidates(lists, 3, 1), with_num_candidates(lists, 3, 1));
  EXPECT_NE(with_num_candidates(lists, 4, 1), with_num_candidates(lists, 4, 2));
  expect_error(Exit::usage, "--num_candidates: got 1", [&] { with_num_candidates(lists, 1, 1); });
  EXPECT_EQ(shortage_note(set_of(with_num_candidates(lists, 9, 1)), 9),
            "S has 8 candidates, fewer than --num_candidates 9");
  EXPECT_EQ(shortage_note(set_of(with_num_candidates(lists, 8, 1)), 8), "");
}

TEST(NumCandidates, fewer_are_a_part_of_more) {
  Lists lists;
  for (int32_t row = 0; row < 20; ++row) {
    lists.emplace_back();
    for (int32_t c = 0; c < 30; ++c) lists.back().push_back((row * 7 + c * 3) % 100);
  }
  for (int64_t n = 2; n < 90; n += 11) {
    const Lists fewer = with_num_candidates(lists, n, 5), more = with_num_candidates(lists, n + 9, 5);
    for (size_t row = 0; row < lists.size(); ++row)
      EXPECT_TRUE(std::equal(fewer[row].begin(), fewer[row].end(), more[row].begin())) << n;
  }
}

TEST(Ties, rules) {
  struct Case {
    std::vector<float> scores;
    std::vector<uint8_t> right;
    bool first, last, strict;
  };
  const Case cases[] = {{{2, 1, 1}, {1, 0, 0}, true, true, true},
                        {{1, 2, 2}, {1, 0, 0}, false, false, false},
                        {{2, 2, 1}, {1, 0, 0}, true, false, false},
                        {{2, 1, 2}, {1, 0, 1}, true, true, true},  // a duplicate of the positive
                        {{2, 2, 2}, {1, 0, 1}, true, true, false},
                        {{2, 2, 0}, {0, 1, 0}, false, true, false},
                        {{0}, {1}, true, true, true}};
  for (const Case& c : cases) {
    const TieOutcome o = tie_outcome(c.scores, c.right);
    EXPECT_EQ(o.first, c.first);
    EXPECT_EQ(o.last, c.last);
    EXPECT_EQ(o.strict, c.strict);
  }
  EXPECT_THROW(tie_outcome({}, {}), Error);
}

TEST(PromptVariants, replace_the_instruction_only) {
  struct Case {
    std::string query, stored, wanted, expected;
  };
  const std::string image = "<|image_1|>\n";
  const Case cases[] = {{image + "Name it: a cat\n", "Name it: ", "Say what it is:", image + "Say what it is: a cat\n"},
                        {image + "Name it\n", "Name it\n", "Which one? ", image + "Which one?\n"},
                        {image + "Name it\n", "Name it", "Classify <|image_1|> now", "Classify <|image_1|> now\n"},
                        {"Find it: a cat\n", "Find it:", "Look for", "Look for a cat\n"},
                        {image + "object \"cat\"\n", "object \"", "thing \"", image + "thing \"cat\"\n"}};
  for (const Case& c : cases) EXPECT_EQ(with_instruction(c.query, c.stored, c.wanted), c.expected);
  expect_error(Exit::data, "does not begin with the instruction", [&] { with_instruction(image + "x", "y", "z"); });
  expect_error(Exit::data, "<|image_1|>", [] { with_instruction("x", "x", "z <|image_1|>"); });
}

TEST(PromptVariants, common_instruction_ends_with_a_word) {
  const std::string image = "<|image_1|>\n";
  EXPECT_EQ(common_instruction({image + "Answer: what is it?\n", image + "Answer: who is it?\n"}), "Answer: ");
  EXPECT_EQ(common_instruction({image + "Name it\n", image + "Name it\n"}), "Name it\n");
  EXPECT_EQ(common_instruction({"Isolate \"hot dog\"\n", "Isolate \"hotel\"\n"}), "Isolate \"");
  EXPECT_EQ(common_instruction({"Find: caf\xc3\xa9", "Find: caf\xc3\xa8"}), "Find: ");  // no half letter
  EXPECT_EQ(common_instruction({"Name it", "Name it now"}), "Name ");
  EXPECT_EQ(common_instruction({"Answer: What is at the top?\n", "Answer: What is at the left?\n"}), "Answer: ");
  EXPECT_EQ(common_instruction({"a", "b"}), "");
  EXPECT_EQ(common_instruction({}), "");
}

TEST(PromptVariants, file) {
  const TemporaryFolder folder("variants");
  const auto file = folder / "v.json";
  write_text(file, R"({"A": ["one", "two"], "*": ["three"]})");
  const PromptVariants v = read_prompt_variants(file);
  EXPECT_EQ(variants_of(v, "A"), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(variants_of(v, "B"), std::vector<std::string>{"three"});
  EXPECT_TRUE(variants_of({}, "B").empty());
  EXPECT_NO_THROW(check_variant_sets(v, {"A", "B"}));
  expect_error(Exit::usage, "A is not among the sets", [&] { check_variant_sets(v, {"B"}); });
  for (const auto& [text, error] : std::map<std::string, std::string>{{"[]", "expected {"},
                                                                      {"{}", "expected {"},
                                                                      {R"({"A": "x"})", "A is string"},
                                                                      {R"({"A": []})", "A is empty"},
                                                                      {R"({"A": [3]})", "A has number"},
                                                                      {R"({"A": [" "]})", "an empty instruction"}}) {
    write_text(file, text);
    expect_error(Exit::data, error, [&] { read_prompt_variants(file); });
  }
}

TEST(PromptVariants, summary) {
  const VariantSummary s = summarise_variants({50, 60, 40});
  EXPECT_DOUBLE_EQ(s.mean, 50);
  EXPECT_NEAR(s.deviation, 10, 1e-12);
  EXPECT_EQ(s.lowest, 40);
  EXPECT_EQ(s.highest, 60);
  EXPECT_EQ(summarise_variants({70}).deviation, 0);
  EXPECT_THROW(summarise_variants({}), Error);
}

}  // namespace
}  // namespace vlm2vec
