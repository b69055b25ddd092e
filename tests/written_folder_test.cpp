// Folders that init, train and merge write: complete for transformers and sentence-transformers, with the bounds of
// their pictures.
#include <gtest/gtest.h>

#include "cli/commands.h"
#include "expect_error.h"
#include "golden.h"
#include "qwen_testing.h"
#include "trainer_fixture.h"
#include "vlm/model.h"
#include "vlm/sentence_transformers.h"

namespace vlm2vec {
namespace {

std::vector<float> vectors(const fs::path& model, const fs::path& adapter, const fs::path& picture) {
  ModelOptions options;
  options.model_name = model, options.adapter = adapter;
  const auto encoder = load_model(options, Device::cpu, true);
  const std::vector<EncoderInput> rows = {{"<|image_pad|> what is this?", {picture}}};
  return to_vector<float>(embed(*encoder, rows, 1));
}

// A run's bounds are those of its model: a LoRA run keeps them beside the adapter, where --adapter finds them.
TEST_F(Trainer, adapters_keep_the_bounds_of_their_pictures) {
  TrainOptions o = lora("bounded");
  o.max_steps = 1, o.save_steps = 1, o.resize_min_pixels = 64, o.resize_max_pixels = 128;
  train(o, Device::cpu, true);
  const fs::path model = folder_ / "model", picture = folder_ / "picture.png";
  write_png(picture, plain_image(40, 24, 90));
  for (const fs::path& folder : {folder_ / "bounded", folder_ / "bounded/checkpoint-1"}) {
    EXPECT_EQ(rule_of(folder).max_pixels, 128);
    EXPECT_FALSE(fs::exists(folder / "config.json"));
  }
  const auto bounded = vectors(model, folder_ / "bounded", picture);
  fs::create_directories(folder_ / "bare");
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
    fs::copy_file(folder_ / "bounded" / name, folder_ / "bare" / name);
  EXPECT_NE(vectors(model, folder_ / "bare", picture), bounded);
  write_text(folder_ / "bare/preprocessor_config.json", file("bounded/preprocessor_config.json"));
  EXPECT_EQ(vectors(model, folder_ / "bare", picture), bounded);
}

// A folder as transformers 5 saves it becomes one that 4.52, 4.57 and 5.23 read alike.
TEST_F(Trainer, merge_and_init_write_what_all_versions_read) {
  const fs::path model = folder_ / "model", five = folder_ / "five";
  fs::copy(model, five);
  const json flat = read_json(model / "config.json");
  json text = flat, nested = {{"model_type", "qwen2_vl"},    {"architectures", {"Qwen2VLForConditionalGeneration"}},
                              {"dtype", "float32"},          {"image_token_id", 1},
                              {"tie_word_embeddings", true}, {"vision_config", flat["vision_config"]}};
  for (const char* field : {"architectures", "vision_config", "rope_scaling", "rope_theta", "image_token_id"})
    text.erase(field);
  text["tie_word_embeddings"] = false, text["model_type"] = "qwen2_vl_text", text["dtype"] = "bfloat16";
  text["rope_parameters"] = {{"rope_type", "default"},
                             {"type", "mrope"},
                             {"rope_theta", flat["rope_theta"]},
                             {"mrope_section", flat["rope_scaling"]["mrope_section"]}};
  nested["text_config"] = text;
  write_json(five / "config.json", nested);
  json tokenizer = {{"tokenizer_class", "TokenizersBackend"},
                    {"extra_special_tokens", {"<|endoftext|>", "<|image_pad|>"}},
                    {"pad_token", "<|endoftext|>"}};
  write_json(five / "tokenizer_config.json", tokenizer);
  json want = flat;
  want["dtype"] = want["torch_dtype"] = "float32";
  tokenizer["additional_special_tokens"] = tokenizer["extra_special_tokens"];
  tokenizer.erase("extra_special_tokens"), tokenizer["tokenizer_class"] = "Qwen2Tokenizer";

  const fs::path merged = folder_ / "merged", made = folder_ / "made";
  ASSERT_EQ(run_command({"merge", "--model_name", five, "--output_dir", merged, "--sentence_transformers", "--quiet"}),
            Exit::ok);
  EXPECT_EQ(read_json(merged / "config.json"), want);
  EXPECT_EQ(read_json(merged / "tokenizer_config.json"), tokenizer);
  ASSERT_EQ(run_command({"init", "--config", five / "config.json", "--tokenizer", five, "--min_pixels", "64",
                         "--output_dir", made, "--quiet"}),
            Exit::ok);
  json config = read_json(made / "config.json");
  for (const auto& [field, value] : want.items()) EXPECT_EQ(config[field], value) << field;
  EXPECT_FALSE(config.contains("text_config") || config.contains("rope_parameters"));
  EXPECT_EQ(read_json(made / "tokenizer_config.json"), tokenizer);

  config["vocab_size"] = 259;  // errors name what was given, not the folder in the making
  write_json(folder_ / "small.json", config);
  expect_error(
      Exit::data, model.string() + ": the tokenizer has 291 tokens, " + (folder_ / "small.json").string(), [&] {
        run_command(
            {"init", "--config", folder_ / "small.json", "--tokenizer", model, "--output_dir", made, "--quiet"});
      });
  expect_error(Exit::data, "A/B: no such file, and nothing is ever downloaded; if it is a name of the hub", [&] {
    run_command({"init", "--config", "A/B", "--tokenizer", model, "--output_dir", made, "--quiet"});
  });
}

// transformers 4.52 asks the configuration for these ids in its first forward pass.
TEST(Init, writes_a_complete_configuration) {
  const TemporaryFolder folder("complete");
  json config = read_json(golden("qwen2_vl/tiny/config.json"));
  const json whole = config;
  for (const char* id :
       {"bos_token_id", "eos_token_id", "vision_start_token_id", "vision_end_token_id", "video_token_id"})
    config.erase(id);
  config["num_hidden_layers"] = 1, config["vocab_size"] = 1792;
  write_json(folder / "config.json", config);
  const auto init = [&](const std::vector<std::string>& tokenizer) {
    std::vector<std::string> words = {"init",         "--config",     folder / "config.json",
                                      "--output_dir", folder / "out", "--quiet"};
    words.insert(words.end(), tokenizer.begin(), tokenizer.end());
    EXPECT_EQ(run_command(words), Exit::ok);
    return read_json(folder / "out/config.json");
  };
  const json written = init({"--tokenizer", golden("qwen2_vl/tiny")});
  for (const char* id :
       {"bos_token_id", "eos_token_id", "vision_start_token_id", "vision_end_token_id", "video_token_id"})
    EXPECT_EQ(written.at(id), whole.at(id)) << id;
  EXPECT_EQ(written.at("image_token_id"), whole.at("image_token_id"));

  config["image_token_id"] = 1, config["eos_token_id"] = 7;
  write_json(folder / "config.json", config);
  write_rows(folder / "data");
  const json learned = init({"--train_tokenizer", folder / "data"});
  EXPECT_EQ(learned.at("bos_token_id"), 0);              // <|endoftext|>
  EXPECT_EQ(learned.at("eos_token_id"), 7);              // what is given stays
  EXPECT_EQ(learned.at("vision_start_token_id"), 1792);  // behind the vocabulary: no text has them
  EXPECT_EQ(learned.at("vision_end_token_id"), 1793);
  EXPECT_EQ(learned.at("video_token_id"), 1794);
  expect_error(Exit::data, "no such folder; expected a tokenizer", [&] {
    run_command(
        {"init", "--config", folder / "config.json", "--output_dir", folder / "x", "--tokenizer", folder / "no"});
  });
  EXPECT_FALSE(fs::exists(folder / "x"));
}

TEST_F(Trainer, merge_writes_what_sentence_transformers_need) {
  const fs::path model = folder_ / "model", out = folder_ / "sentences", picture = folder_ / "picture.png";
  write_png(picture, plain_image(40, 24, 90));
  expect_error(Exit::usage, "merge: --adapter is missing", [&] {
    run_command({"merge", "--model_name", model, "--output_dir", out, "--quiet"});
  });
  ASSERT_EQ(
      run_command({"merge", "--model_name", model, "--output_dir", out, "--sentence_transformers", "True", "--quiet"}),
      Exit::ok);
  EXPECT_EQ(vectors(out, {}, picture), vectors(model, {}, picture));
  const json modules = read_json(out / "modules.json");
  ASSERT_EQ(modules.size(), 3u);
  EXPECT_EQ(modules[1]["type"], "sentence_transformers.sentence_transformer.modules.pooling.Pooling");
  EXPECT_EQ(read_json(out / "1_Pooling/config.json"),
            (json{{"embedding_dimension", 16}, {"pooling_mode", "lasttoken"}, {"include_prompt", true}}));
  EXPECT_EQ(read_json(out / "sentence_bert_config.json")["modality_config"]["message"]["format"], "structured");
  EXPECT_NE(read_text(out / "chat_template.jinja").find("%}<|image_pad|>{%"), std::string::npos);
  const auto again = [&](const fs::path& from) {  // a folder of its own kind is replaced
    return run_command(
        {"merge", "--model_name", from, "--output_dir", out, "--sentence_transformers", "True", "--quiet"});
  };
  EXPECT_EQ(again(model), Exit::ok);
}

TEST(SentenceTransformers, pictures_stand_in_the_makers_prompt) {
  const TemporaryFolder folder("picture-prompt");
  ASSERT_EQ(run_command({"merge", "--model_name", golden("qwen2_vl/tiny"), "--output_dir", folder / "out",
                         "--sentence_transformers", "True", "--quiet"}),
            Exit::ok);
  EXPECT_NE(read_text(folder / "out/chat_template.jinja").find("<|vision_start|><|image_pad|><|vision_end|>"),
            std::string::npos);
}

}  // namespace
}  // namespace vlm2vec
