#include "vlm/prompt.h"

#include <gtest/gtest.h>

#include "expect_error.h"

namespace vlm2vec {
namespace {

const std::string kToken = "<|image_pad|>";

Prompt build_prompt(const std::string& style, const PromptParts& parts, const std::string& image_token) {
  return prompt_style(vlm2vec_prompts(), style).build(parts, image_token);
}
std::string v1(const PromptParts& parts) { return build_prompt("vlm2vec-v1", parts, kToken).text; }
std::string v2(const PromptParts& parts) { return build_prompt("vlm2vec-v2", parts, kToken).text; }

TEST(Prompt, raw_is_the_text) {
  EXPECT_EQ(build_prompt("raw", {"", "<|image_1|> as it is", 1}, kToken).text, "<|image_1|> as it is");
  expect_error(Exit::data, "has an instruction, but the prompt is raw", [] {
    build_prompt("raw", {"Do", "x", 0}, kToken);
  });
  expect_error(Exit::usage, "--prompt: got \"v3\", expected raw, vlm2vec-v1 or vlm2vec-v2",
               [] { build_prompt("v3", {}, kToken); });
  expect_error(Exit::usage, "--prompt: got \"vlm2vec-v2\", expected raw or vlm2vec-v1",  // a family without it
               [] { prompt_style(vlm2vec_prompts().first(2), "vlm2vec-v2"); });
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

// A row of MMEB given to a style is what train and eval make of it; elsewhere the token says where the picture goes.
TEST(Prompt, tokens_in_the_words_place_the_pictures) {
  const std::string row = "<|image_1|>\nName it.\n", read = "<|image_pad|>\nName it.\n";
  EXPECT_EQ(v1({"", row, 1}), read);
  EXPECT_EQ(v2({"", row, 1}), read);
  EXPECT_EQ(v2({"", row, 0}), read);
  EXPECT_EQ(v2({"Name <|image_1|>", "", 1}), "Name <|image_pad|>");
  EXPECT_EQ(v2({"Is it", "in <|image_pad|>?", 1}), "Is it in <|image_pad|>?");
  EXPECT_EQ(v1({"Name <|image_1|>", "now", 1}), "Name <|image_pad|> now\n");
  EXPECT_EQ(build_prompt("vlm2vec-v2", {"", "<|image_2|> <|image_1|>", 2}, kToken).pictures,
            (std::vector<size_t>{1, 0}));
  EXPECT_EQ(build_prompt("vlm2vec-v1", {"", "<|image_2|> <|image_1|>", 2}, kToken).pictures,
            (std::vector<size_t>{1, 0}));
}

// Phi-3.5-V's own tokens are the stored ones.
TEST(Prompt, numbered_tokens_stay_and_count_up) {
  const auto build = [](const char* style, const PromptParts& parts) {
    const Prompt prompt = build_prompt(style, parts, kNumberedImageToken);
    EXPECT_EQ(prompt_fault(prompt.text, parts.pictures, kNumberedImageToken), "") << prompt.text;
    return prompt;
  };
  const std::string row = "<|image_1|>\nName it.\n";
  for (const char* style : {"raw", "vlm2vec-v1", "vlm2vec-v2"}) {
    EXPECT_EQ(build(style, {"", row, 1}).text, row) << style;
    EXPECT_EQ(build(style, {"", row, 0}).text, row) << style << ": words";
    const Prompt swapped = build(style, {"", "a <|image_2|> b <|image_1|>", 2});
    EXPECT_EQ(swapped.text, "a <|image_1|> b <|image_2|>");
    EXPECT_EQ(swapped.pictures, (std::vector<size_t>{1, 0}));
  }
  EXPECT_EQ(build("vlm2vec-v1", {"Name it.", "", 1}).text, row);
  EXPECT_EQ(build("vlm2vec-v2", {"Compare.", "", 2}).text, "<|image_1|> <|image_2|> Compare.");
  EXPECT_EQ(texts_around_images("a<|image_1|>\n<|image_2|>", kNumberedImageToken),
            (std::vector<std::string>{"a", "\n", ""}));
  const auto fault = [](const std::string& text, size_t pictures) {
    const Prompt prompt = build_prompt("raw", {"", text, pictures}, kNumberedImageToken);
    return prompt_fault(prompt.text, pictures, kNumberedImageToken, true);
  };
  EXPECT_EQ(fault("<|image_2|>", 1), "the text \"<|image_2|>\" has <|image_2|> where <|image_1|> is expected; the "
                                     "tokens must name each of 1 picture once");
  EXPECT_NE(fault("<|image_1|><|image_1|>", 2).find("has <|image_1|> where <|image_2|> is expected"), std::string::npos);
  EXPECT_NE(fault("nothing", 1).find("has 0 image tokens (\"<|image_1|>\", <|image_2|>, …) and 1 picture; every"),
            std::string::npos);
  EXPECT_NE(fault("<|image_1|>", 2).find("has 1 image token (\""), std::string::npos);
}

// With every style and command a stored token reaches the model as an image token or not at all.
TEST(Prompt, faults_are_one_sentence) {
  for (const size_t pictures : {0, 1}) {
    const std::string fault = prompt_fault("x <|image_1|>\n" + std::string(9000, 'y'), pictures, kToken);
    EXPECT_NE(fault.find("in a raw prompt <|image_pad|> stands for each"), std::string::npos) << fault;
    EXPECT_LT(fault.size(), 500u);
    EXPECT_EQ(fault.find('\n'), std::string::npos);
  }
  EXPECT_EQ(prompt_fault("<|image_pad|> is a word here", 0, kToken), "");
  EXPECT_EQ(prompt_fault("<|image_pad|>", 1, kToken), "");
  EXPECT_TRUE(prompt_fault("", 1, kToken, true)
                  .ends_with("(--prompt STYLE, the one that the model was trained with (vlm2vec-v1, vlm2vec-v2, …), puts it there)"));
  EXPECT_NE(prompt_fault("", 0, kToken), "");
}

// A dual encoder's text and picture go separate ways: stored tokens vanish, none is put anywhere.
TEST(Prompt, of_a_model_without_image_token) {
  EXPECT_EQ(place_pictures("<|image_1|>\nName it.\n", 1, "").text, "\nName it.\n");
  for (const std::string style : {"vlm2vec-v1", "vlm2vec-v2"}) {
    EXPECT_EQ(build_prompt(style, {"", "", 1}, "").text, "");
    EXPECT_EQ(build_prompt(style, {"", "<|image_1|>\nName it.\n", 1}, "").text, "\nName it.\n");
    EXPECT_EQ(build_prompt(style, {"Name it.", "", 1}, "").text.substr(0, 8), "Name it.");
  }
  for (const size_t pictures : {0, 1}) {
    EXPECT_EQ(prompt_fault("words", pictures, ""), "");
    EXPECT_NE(prompt_fault("<|image_1|> words", pictures, "", true).find("--prompt vlm2vec-v1 and vlm2vec-v2 do"),
              std::string::npos);
  }
  EXPECT_EQ(prompt_fault("", 1, ""), "");
  EXPECT_NE(prompt_fault("", 0, ""), "");
  EXPECT_EQ(prompt_fault("words", 2, ""), "has 2 pictures; this model reads a text, a picture or both");
}

TEST(Prompt, stored_tokens_are_replaced_wherever_they_are) {
  EXPECT_EQ(place_pictures("<|image_1|><|image_12|> a <|image_1|>", 0, "#").text, "## a #");
  EXPECT_EQ(place_pictures("<|image_|> <|image_x|> <|image_1> <|image_2", 0, "#").text,
            "<|image_|> <|image_x|> <|image_1> <|image_2");
}

}  // namespace
}  // namespace vlm2vec
