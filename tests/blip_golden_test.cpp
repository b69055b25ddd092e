// BLIP-2 against transformers' numbers, UniIR's CLIP_SF and BLIP_FF against its code's: collections of VLM2VEC_GOLDEN.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "golden_compare.h"
#include "golden_statistics.h"
#include "io/files.h"
#include "io/sha256.h"
#include "lines_of_json.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Values = std::map<std::string, Tensor>;

#define NEEDS_LARGER_GOLDEN(file)                                          \
  if (!fs::exists(golden(file)) || !fs::exists(golden("backbone_images"))) \
    GTEST_SKIP() << "not run: no " << golden(file) << "; VLM2VEC_GOLDEN names a larger collection";

Values stages(Encoder& encoder, const EncoderInput& input) {
  Values all;
  for (const Stage& stage : stages_of(encoder, input).list) all.emplace(stage.name, stage.value);
  return all;
}

EncoderInput input_of(const json& c, const std::string& folder) {
  EncoderInput input{c.value("text", ""), {}};
  if (c.contains("image")) input.images.push_back(golden(folder) / c["image"].get<std::string>());
  return input;
}

// "query.hidden_1" is the stage query_layer_0.
std::string blip_stage(const std::string& name) {
  if (name == "vision.post_layernorm") return "vision_final";
  if (name == "query.hidden_0") return "query_embed";
  if (name.starts_with("query.hidden_")) return sentence("query_layer_", std::stoi(name.substr(13)) - 1);
  return stage_of(name);
}

double limit_of(const std::string& stage) {
  return stage.ends_with("_embeds") ? 5e-6 : stage == "itc_score" ? 2e-6 : 5e-5;
}

Tensor unit_of(const Tensor& x) { return l2_normalize(x.view({1, x.numel()}), 1e-12).y; }

TEST(Blip2Golden, forward) {
  NEEDS_LARGER_GOLDEN("blip2/cases.jsonl")
  const auto encoder = load_encoder(golden("blip2/model")),
             official = load_encoder(golden("blip2/model"), {.official_features = true});
  EXPECT_EQ(official->dim(), 128);
  int compared = 0;
  for (const json& c : lines_of_json(golden("blip2/cases.jsonl"))) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const EncoderInput input = input_of(c, "blip2");
    const auto ours = stages(*encoder, input);
    const NamedTensors expected = load_safetensors(golden("blip2") / c.at("file").get<std::string>());
    for (const auto& [key, tensor] : expected) {
      SCOPED_TRACE(key);
      const std::string end = key.substr(key.rfind('.') + 1), front = key.substr(0, key.rfind('.'));
      if (key == "itm_logits" || end == "row_index") continue;  // no embedding; read with its rows
      if (key == "input_ids") EXPECT_EQ(to_vector<int64_t>(ours.at(key)), to_vector<int64_t>(tensor));
      else if (key == "vlm2vec_eval.fused")
        EXPECT_LE(distance(embed(*official, {&input, 1}, 1), unit_of(tensor)), 5e-6);
      else if (key.starts_with("pixel_values."))
        expect_within("pixel_values", distance(pixel_statistic(ours.at("pixel_values"), end, 8, 3), tensor),
                      end == "sample" ? 3e-7 : 1e-5);
      else if (end == "rows")
        expect_within(blip_stage(front),
                      distance(select(ours.at(blip_stage(front)), expected.at(front + ".row_index")), tensor), 5e-5);
      else if (end == "norms") EXPECT_LE(distance(row_norms(ours.at(blip_stage(front))), tensor), 5e-4);
      else expect_within(key, distance(ours.at(key), tensor), limit_of(key));
      ++compared;
    }
    EncoderInput text = input;
    text.images.clear();
    EXPECT_LE(distance(embed(*official, {&text, 1}, 1), unit_of(expected.at("text_cls"))), 5e-6);
    EXPECT_LE(distance(embed(*encoder, {&text, 1}, 1), expected.at("text_embeds").view({1, 64})), 5e-6);
    if (input.images.empty()) continue;
    const auto picture = encoder->processor.picture(input, input.images[0]);
    EXPECT_EQ(hex(sha256({reinterpret_cast<const char*>(picture->pixels.data()), picture->pixels.size()})),
              c.at("resized_rgb_sha256"));
  }
  EXPECT_GE(compared, 100);
}

class UniirGolden : public testing::Test {
 protected:
  // A folder as a user makes it: checkpoint, configuration, tokenizer.
  fs::path folder_of(const std::string& name) const {
    const fs::path folder = folder_ / name;
    fs::create_directories(folder);
    for (const std::string& file : {name + ".pth", name + "_config.json"})
      fs::copy_file(golden("uniir") / file, folder / file);
    if (name == "blip_ff") fs::copy_file(golden("uniir/vocab.txt"), folder / "vocab.txt");
    else fs::create_directory_symlink(fs::absolute(golden("clip")), folder_ / "clip");  // the configuration names it
    return folder;
  }
  void check(const std::string& name);
  const TemporaryFolder folder_{"uniir"};
};

void UniirGolden::check(const std::string& name) {
  const auto encoder = load_encoder(folder_of(name));
  const NamedTensors expected = load_safetensors(golden("uniir/expected.safetensors"));
  const PromptStyle& style = prompt_style(encoder->family, "uniir");
  const json all = read_json(golden("uniir/cases.json"));
  int compared = 0;
  for (const json& c : all.at("cases")) {
    if (c.at("name") == "nothing") continue;  // a row without text and picture is refused
    const std::string front = name + "/" + c.at("name").get<std::string>() + "/";
    SCOPED_TRACE(front);
    EncoderInput input{c.at("formatted"), {}};
    if (c.contains("image")) input.images.push_back(golden("backbone_images") / c["image"].get<std::string>());
    const std::string instruction = c.value("instruction", ""),
                      text = instruction.empty() ? c.value("text", "") : c.value("query", "");
    EXPECT_EQ(style.build({instruction, text, input.images.size()}, "").text, input.text);
    const auto at = [&](const std::string& key) { return expected.at(front + key); };
    if (name == "clip_sf") {
      if (to_vector<int64_t>(at("masks"))[0] == 0) input.text.clear();
    }
    const auto ours = stages(*encoder, input);
    ++compared;
    expect_within("embedding", distance(ours.at("embedding"), at("embedding_normalized")), 5e-6);
    if (ours.contains("input_ids")) {
      EXPECT_EQ(to_vector<int64_t>(ours.at("input_ids")), to_vector<int64_t>(at("input_ids")));
    }
    if (c.contains("image")) {
      const auto sample = pixel_statistic(ours.at("pixel_values"), "sample", 12, 5);
      expect_within("pixel_values", distance(sample, at("pixel_values.sample")), 3e-7);
    }
    if (name == "clip_sf") {
      for (const auto& [stage, key] : {std::pair("text_embeds", "text"), {"image_embeds", "image"}})
        if (ours.contains(stage)) expect_within(stage, distance(ours.at(stage), at(key)), 3e-5);
      continue;
    }
    const Tensor& seen = ours.at(c.contains("image") ? "vision_final" : "blank_picture");
    expect_within("vision", distance(select(seen, at("vision_rows")), at("vision")), 3e-5);
    for (const int i : {0, 1})
      expect_within("hidden",
                    distance(select(ours.at(sentence("hidden_layer_", i)), at("text_rows")), at(sentence("layer_", i))),
                    3e-5);
    EXPECT_LE(distance(ours.at("pooled"), at("embedding")), 2e-5);
  }
  EXPECT_EQ(compared, 8);
}
TEST_F(UniirGolden, clip_sf) {
  NEEDS_LARGER_GOLDEN("uniir/cases.json")
  check("clip_sf");
}
TEST_F(UniirGolden, blip_ff) {
  NEEDS_LARGER_GOLDEN("uniir/cases.json")
  check("blip_ff");
}

TEST_F(UniirGolden, sentences) {
  NEEDS_LARGER_GOLDEN("uniir/cases.json")
  const PromptStyle& style =
      prompt_style(*std::ranges::find(families(), "uniir-blip-ff", &Family::model_type), "uniir");
  const json all = read_json(golden("uniir/cases.json"));
  EXPECT_GE(all.at("format_string").size(), 15u);
  for (const json& c : all.at("format_string"))
    if (c.at("in").is_string()) {
      EXPECT_EQ(style.build({"", c["in"], 0}, "").text, c.at("out")) << c["in"];
    }
}

}  // namespace
}  // namespace vlm2vec
