#include "vlm/prompt.h"

#include <gtest/gtest.h>

#include "expect_error.h"

namespace vlm2vec {
namespace {

const std::string kToken = "<|image_pad|>";

std::string v1(const PromptParts& parts) { return build_prompt("vlm2vec-v1", parts, kToken).text; }
std::string v2(const PromptParts& parts) { return build_prompt("vlm2vec-v2", parts, kToken).text; }

TEST(Prompt, raw_is_the_text) {
  EXPECT_EQ(build_prompt("raw", {"", "<|image_1|> as it is", 1}, kToken).text, "<|image_1|> as it is");
  expect_error(Exit::data, "has an instruction, but the prompt is raw", [] {
    build_prompt("raw", {"Do", "x", 0}, kToken);
  });
  expect_error(Exit::usage, "--prompt: got \"v3\"", [] { build_prompt("v3", {}, kToken); });
}

// The stored strings of MMEB (section 1.2 of the paper's data): token, newline, instruction, blank, text, newline.
TEST(Prompt, v1_is_the_form_in_which_MMEB_stores_rows) {
  EXPECT_EQ(v1({"", "<|image_1|>\nIdentify the object shown in the image\n", 1}),
            "<|image_pad|>\nIdentify the object shown in the image\n");
  EXPECT_EQ(v1({"Identify the object shown in the image", "", 1}),
            "<|image_pad|>\nIdentify the object shown in the image\n");
  EXPECT_EQ(v1({"Find me an everyday image that matches the given caption:", "A cat.", 0}),
            "Find me an everyday image that matches the given caption: A cat.\n");
  EXPECT_EQ(v1({"", "a label", 0}), "a label");
  EXPECT_EQ(v1({"", "", 1}), "<|image_pad|>\n");
  EXPECT_EQ(v1({"", "A cat.", 1}), "<|image_pad|>\nA cat.\n");
}

// process_input_text: the instruction comes first even when it is empty, so the text keeps its blank.
TEST(Prompt, v2_joins_token_instruction_and_text_with_blanks) {
  EXPECT_EQ(v2({"Represent the image.", "", 1}), "<|image_pad|> Represent the image.");
  EXPECT_EQ(v2({"Answer:", "what is it?", 1}), "<|image_pad|> Answer: what is it?");
  EXPECT_EQ(v2({"", "text", 0}), " text");
  EXPECT_EQ(v2({"", "", 1}), "<|image_pad|> ");
  EXPECT_EQ(v2({"Compare.", "", 2}), "<|image_pad|> <|image_pad|> Compare.");
}

TEST(Prompt, stored_tokens_are_replaced_wherever_they_are) {
  EXPECT_EQ(place_pictures("<|image_1|><|image_12|> a <|image_1|>", 0, "#").text, "## a #");
  EXPECT_EQ(place_pictures("<|image_|> <|image_x|> <|image_1> <|image_2", 0, "#").text,
            "<|image_|> <|image_x|> <|image_1> <|image_2");
}

}  // namespace
}  // namespace vlm2vec
