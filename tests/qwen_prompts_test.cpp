// The prompts of GME, LamRA and Qwen3-VL-Embedding: text, token ids by transformers' tokenizer, positions and pictures.
#include "vlm/families/qwen_prompts.h"

#include <gtest/gtest.h>

#include <numeric>

#include "golden.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/registry/registry.h"
#include "temporary_folder.h"
#include "tiny_model.h"
#include "vlm/image/image.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

const std::string kToken = "<|image_pad|>", kV = "<|vision_start|><|image_pad|><|vision_end|>";
const std::string kHelpful = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
                  kAssistant = "<|im_end|>\n<|im_start|>assistant\n";

std::string built(const std::string& style, const PromptParts& parts) {
  const bool newer = style.starts_with("qwen3");
  return prompt_style(newer ? qwen3_prompts() : qwen2_prompts(), style).build(parts, kToken).text;
}

TEST(QwenPrompts, of_gme) {
  EXPECT_EQ(built("gme", {"", "a red bus", 0}), kHelpful + "a red bus" + kAssistant + "<|endoftext|>");
  EXPECT_EQ(built("gme", {"Find it.", "what?", 1}),
            "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n" + kV + "what?" + kAssistant + "<|endoftext|>");
  EXPECT_EQ(built("gme", {"", "<|image_1|>\nwhat?", 1}), kHelpful + kV + "what?" + kAssistant + "<|endoftext|>");
}

TEST(QwenPrompts, of_lamra) {
  const std::string rest = kAssistant + "<emb>." + kAssistant, ask = "\nSummarize above ", in = " in one word: ";
  EXPECT_EQ(built("lamra", {"", "a red bus", 0}), kHelpful + "a red bus\n" + rest);
  EXPECT_EQ(built("lamra", {"", "", 1}), kHelpful + kV + ask + "image" + in + rest);
  EXPECT_EQ(built("lamra", {"Find it.", "what?", 1}), kHelpful + kV + "Find it. what?" + rest);
  EXPECT_EQ(built("lamra-own", {"", "a red bus", 0}), kHelpful + "a red bus" + ask + "sentence" + in + kAssistant);
  EXPECT_EQ(built("lamra-own", {"", "", 1}), kHelpful + kV + ask + "image" + in + kAssistant);
  EXPECT_EQ(built("lamra-own", {"Find it.", "what?", 1}),
            kHelpful + kV + "Find it. what?" + ask + "image and sentence" + in + kAssistant);
}

TEST(QwenPrompts, of_qwen3_vl_embedding) {
  const auto system = [](const std::string& instruction) {
    const std::string all = built("qwen3-vl-embedding", {instruction, "x", 0});
    return all.substr(19, all.find("<|im_end|>") - 19);
  };
  EXPECT_EQ(system(""), "Represent the user's input.");
  EXPECT_EQ(system(" \n\xe3\x80\x80"), "Represent the user's input.");  // an ideographic space
  EXPECT_EQ(system(" Find it "), "Find it.");
  EXPECT_EQ(system("Find it!"), "Find it!");
  EXPECT_EQ(system("5 $"), "5 $.");  // a symbol, no punctuation
  EXPECT_EQ(system("\xe5\x9b\xbe\xe7\x89\x87\xe3\x80\x82"), "\xe5\x9b\xbe\xe7\x89\x87\xe3\x80\x82");
  EXPECT_TRUE(built("qwen3-vl-embedding", {"", "", 0}).ends_with("user\nNULL" + kAssistant));
  EXPECT_TRUE(built("qwen3-vl-embedding", {"", "b", 2}).ends_with("user\n" + kV + kV + "b" + kAssistant));
  EXPECT_TRUE(built("qwen3-vl-embedding-report", {"", "b", 0}).ends_with("user\nb<|im_end|><|endoftext|>"));
}

// Ids of tokenizers 0.23 for the tokenizer of qwen2_vl/tiny.
TEST(QwenPromptsGolden, to_ids) {
  NEEDS_GOLDEN("qwen2_vl")
  using Ids = std::vector<int32_t>;
  const Tokenizer tokenizer = Tokenizer::load(golden("qwen2_vl/tiny"));
  const auto ids = [&](const std::string& style, const PromptParts& parts) {
    return tokenizer.encode_with_ends(built(style, parts));
  };
  const auto with = [](std::initializer_list<Ids> parts) {
    Ids all;
    for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const Ids helpful = {1757, 82, 88,  322, 68, 76,  198, 56, 291, 286,  266, 286,  220, 258, 75, 79,
                       69,   518, 286, 82, 82, 800, 259, 83, 13,  1758, 198, 1757, 84,  82,  271, 198},
            assistant = {1758, 198, 1757, 479, 800, 259, 83, 198}, bus = {64, 470, 283, 84, 82},
            v = {1765, 1768, 1766}, what = {86, 789, 30}, emb = {27, 68, 76, 65, 29, 13};
  EXPECT_EQ(ids("gme", {"", "a red bus", 0}), with({helpful, bus, assistant, {1756}}));
  EXPECT_EQ(ids("gme", {"Find it.", "what?", 1}),
            with({{1757, 82, 88, 322, 68, 76, 198, 363, 1186, 13, 1758, 198, 1757, 84, 82, 271, 198}, v, what,
                  assistant, {1756}}));
  EXPECT_EQ(ids("lamra", {"", "a red bus", 0}), with({helpful, bus, {198}, assistant, emb, assistant}));
  EXPECT_EQ(ids("lamra", {"", "", 1}),
            with({helpful, v, {198, 50, 374, 265, 293, 89, 68, 1712, 281, 357, 452, 68, 306, 288, 67, 25, 220},
                  assistant, emb, assistant}));
  EXPECT_EQ(ids("lamra", {"Find it.", "what?", 1}),
            with({helpful, v, {363, 1186, 13, 467, 275, 30}, assistant, emb, assistant}));
  EXPECT_EQ(ids("lamra-own", {"", "a red bus", 0}),
            with({helpful, bus, {198, 50, 374, 265, 293, 89, 68, 1712, 267, 329, 264, 412, 357, 452, 68, 306, 288, 67,
                                 25, 220}, assistant}));
  EXPECT_EQ(ids("lamra-own", {"", "what?", 1}),
            with({helpful, v, what, {198, 50, 374, 265, 293, 89, 68, 1712, 281, 345, 267, 329, 264, 412, 357, 452, 68,
                                     306, 288, 67, 25, 220}, assistant}));
}

// The code of GME and LamRA gives the text model no positions: 1d counts all tokens, 3d is M-RoPE.
TEST(QwenPrompts, positions_of_gme) {
  const TemporaryFolder folder("gme");
  write_tiny_model(folder.path());
  write_png(folder / "a.png", plain_image(24, 16, 90));
  const auto positions = [&](const std::string& style, const std::string& which) {
    const auto encoder = load_encoder(folder.path(), {.image_positions = which});
    const PromptStyle& chosen = prompt_style(qwen2_prompts(), style);
    const EncoderInput input{.text = chosen.build({"", "what?", 1}, kToken).text,
                             .images = {folder / "a.png"},
                             .route = chosen.route,
                             .uncounted = chosen.uncounted};
    const TokenBatch batch = encoder->prepare({&input, 1});
    return std::pair(to_vector<int32_t>(batch.placed_as<QwenPlacement>().position_ids), batch.ids.numel());
  };
  for (const char* style : {"gme", "lamra", "lamra-own"}) {
    const auto [counted, tokens] = positions(style, "1d");
    for (size_t i = 0; i < counted.size(); ++i) ASSERT_EQ(counted[i], int32_t(i) % tokens) << style;
    EXPECT_EQ(positions(style, "").first, counted);
    EXPECT_NE(positions(style, "3d").first, counted);
  }
}

// An evaluation in a style reads pictures and counts positions as the style does, whatever the family.
TEST(QwenPrompts, of_an_evaluation_keep_route_and_positions) {
  const TemporaryFolder folder("evaluation");
  write_png(folder / "a.png", Image(8, 8, 3));
  EvaluationSet set;
  set.query_form = "{question}", set.target_form = "{answer}";
  set.number(Side("<|image_1|>\nwhat is it?", "a.png"), 0);
  int own_routes = 0, uncounted = 0;
  for (const Family& family : families())
    for (const PromptStyle& style : family.prompts) {
      set.style = &style;
      const auto input = encoder_inputs(set, family.image_token, Pictures(folder.path()))[0];
      EXPECT_EQ(int(input.route), int(style.route)) << style.name;
      EXPECT_EQ(input.uncounted, style.uncounted) << style.name;
      own_routes += style.route == PictureRoute::own, uncounted += style.uncounted;
    }
  EXPECT_GT(own_routes, 0);
  EXPECT_GT(uncounted, 0);
}

// Queries get MMEB's instruction and candidates none, as in QwenLM/Qwen3-VL-Embedding's src/evaluation/mmeb_v2, which
// reads MMEB_Test_Instruct; VLM2Vec's prompts have both, so that the stored text comes back; E5-V's have none.
TEST(QwenPrompts, of_an_evaluation_have_the_instructions_of_their_style) {
  const TemporaryFolder folder("instructions");
  write_png(folder / "a.png", Image(8, 8, 3));
  EvaluationSet set;
  set.query_form = registered("MSCOCO")->query, set.target_form = registered("MSCOCO")->query;
  const Side side("<|image_1|>\nCrop the image to to isolate the object labeled as \"cat\"\n", "a.png");
  set.style = &prompt_style(vlm2vec_prompts(), "raw");
  for (const int32_t candidate : {-1, 0}) EXPECT_EQ(set.number(side, 0, candidate), candidate + 1);  // numbered apart
  const auto texts = [&](const char* model, const char* style) {
    const Family& family = *std::ranges::find(families(), std::string(model), &Family::model_type);
    set.style = &prompt_style(family.prompts, style);
    const auto all = encoder_inputs(set, "<image>", Pictures(folder.path()));
    return std::pair(all[0].text, all[1].text);
  };
  const std::string instruction = "Crop the image to to isolate the object labeled as", before = "system\n",
                    words = "<|vision_start|><image><|vision_end|>\"cat\"<|im_end|>";
  const auto [query, candidate] = texts("qwen3_vl", "qwen3-vl-embedding");
  EXPECT_NE(query.find(before + instruction + ".<|im_end|>"), query.npos) << query;
  EXPECT_NE(query.find(words), query.npos) << query;
  EXPECT_NE(candidate.find(before + "Represent the user's input.<|im_end|>"), candidate.npos) << candidate;
  EXPECT_NE(candidate.find(words), candidate.npos) << candidate;
  const std::string stored = "<image>\n" + instruction + " \"cat\"\n";
  EXPECT_EQ(texts("qwen3_vl", "vlm2vec-v1"), std::pair(stored, stored));
  EXPECT_EQ(texts("llava_next", "e5-v").first.find(instruction), std::string::npos);
}

TEST(QwenPrompts, pictures_of_gme) {
  SmartResize own;
  const auto both = own.along(PictureRoute::gme);
  const auto size = [](const PictureRule& rule, int width, int height) {
    Picture picture;
    picture.samples = plain_image(width, height, 7);
    const Size size = rule.apply(std::move(picture)).size();
    return std::pair(size.width, size.height);
  };
  EXPECT_EQ(size(*both, 280, 140), size(own, 280, 140));
  EXPECT_EQ(size(own, 140, 9), std::pair(56, 56));  // VLM2Vec's rule for thin pictures
  EXPECT_EQ(size(*both, 140, 9), std::pair(140, 28));  // GME's code has raised the side before
  EXPECT_NE(both->key(), own.key());
}

}  // namespace
}  // namespace vlm2vec
