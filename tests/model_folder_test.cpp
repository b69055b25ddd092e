// What lies in a model's folder: every layout in the wild gives the bits of the plain one, or is refused with its cure.
#include "vlm/model_folder.h"

#include <gtest/gtest.h>

#include "cli/commands.h"
#include "expect_error.h"
#include "mmeb/training/trained_model.h"
#include "nn/tensor_names.h"
#include "qwen_testing.h"
#include "tiny_model.h"
#include "vlm/model.h"
#include "vlm/portable_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kText = "model.", kVision = "visual.";

class ModelFolders : public testing::Test {
 protected:
  ModelFolders() {
    write_tiny_model(plain_);
    write_png(folder_ / "picture.png", plain_image(40, 24, 90));
  }
  fs::path copy(const std::string& name, const fs::path& from = {}) const {
    fs::copy(from.empty() ? plain_ : from, folder_ / name);
    return folder_ / name;
  }
  // A copy with other weights, file names or tensor names.
  fs::path with_weights(const std::string& name, const std::function<void(NamedTensors&)>& change) const {
    const fs::path model = copy(name);
    NamedTensors weights = load_safetensors(plain_ / kWeightsFile);
    change(weights);
    save_safetensors(model / kWeightsFile, weights);
    return model;
  }
  fs::path renamed(const std::string& name, const std::function<std::string(const std::string&)>& rule) const {
    return with_weights(name, [&](NamedTensors& weights) {
      NamedTensors other;
      for (const auto& [old, tensor] : weights) other.emplace(rule(old), tensor);
      weights = other;
    });
  }
  // The vectors of a text and a picture, as every command reads them; the notes go to notes_.
  std::vector<float> vectors(const fs::path& model, const fs::path& adapter = {}, int64_t max_pixels = 0) {
    ModelOptions options;
    options.model_name = model, options.adapter = adapter, options.resize_max_pixels = max_pixels;
    const auto encoder = load_model(options, Device::cpu, true);
    notes_ = "";
    for (const std::string& note : encoder->notes) notes_ += note + "\n";
    const std::vector<EncoderInput> rows = {{"a red cat", {}},
                                            {"<|image_pad|> what is this?", {folder_ / "picture.png"}}};
    return to_vector<float>(embed(*encoder, rows, 2));
  }
  bool noted(const std::string& part) const { return notes_.find(part) != std::string::npos; }
  void refused(const std::string& part, const fs::path& model, const fs::path& adapter = {}) {
    expect_error(Exit::data, part, [&] { vectors(model, adapter); });
  }
  static void edit(const fs::path& file, const json& patch) {
    json content = read_json(file);
    content.merge_patch(patch);
    write_json(file, content);
  }
  // preprocessor_config.json as transformers 5 keeps it.
  static json nested(const fs::path& model, int64_t min_pixels, int64_t max_pixels) {
    json image = read_json(model / "preprocessor_config.json");
    image.erase("min_pixels"), image.erase("max_pixels"), image.erase("processor_class");
    image["size"] = {{"shortest_edge", min_pixels}, {"longest_edge", max_pixels}};
    image["do_convert_rgb"] = nullptr;
    return {{"image_processor", image},
            {"processor_class", "Qwen2VLProcessor"},
            {"video_processor", {{"video_processor_type", "Qwen2VLVideoProcessor"}}}};
  }
  // A LoRA adapter that moves the vectors.
  fs::path adapter(const std::string& name, const fs::path& model = {}) const {
    const auto encoder = load_encoder(model.empty() ? plain_ : model);
    const AttachedLora lora = attach_lora(*encoder->backbone, {2, 8, 0, {"q_proj", "down_proj"}}, nullptr);
    uint64_t seed = 3;
    for (Parameter* p : lora.parameters()) p->set(normal_tensor(p->shape(), 0.3, ++seed, DType::f32, Device::cpu));
    lora.update();
    save_adapter(lora, folder_ / name, "the/base", Spelling::hub);
    return folder_ / name;
  }
  const TemporaryFolder folder_{"model-folder"};
  const fs::path plain_ = folder_ / "plain";
  std::string notes_;
};

TEST_F(ModelFolders, every_spelling_of_the_weights_is_read) {
  const auto want = vectors(plain_);
  EXPECT_EQ(vectors(renamed("nested", [](const std::string& name) { return nested_name(name, qwen_names()); })), want);
  EXPECT_EQ(vectors(renamed("auto", [](const std::string& name) { return nested_name(name, qwen_names()).substr(6); })), want);
  EXPECT_EQ(vectors(renamed("peft", [](const std::string& name) { return "base_model.model." + name; })), want);
  EXPECT_EQ(vectors(renamed("halves",
                            [](const std::string& name) {
                              return name.starts_with(kText) ? "language_model." + name.substr(6) : name;
                            })),
            want);
  refused("model.norm.weight is stored twice, in two spellings", with_weights("twice", [](NamedTensors& weights) {
            weights["language_model.norm.weight"] = weights.at("model.norm.weight");
          }));
}

TEST_F(ModelFolders, a_tied_head_stands_for_the_embedding) {
  const auto want = vectors(plain_);
  const auto only_head = [](NamedTensors& weights) {
    weights["lm_head.weight"] = weights.at("model.embed_tokens.weight");
    weights.erase("model.embed_tokens.weight");
  };
  const fs::path tied = with_weights("tied", only_head);
  EXPECT_EQ(vectors(tied), want);
  EXPECT_TRUE(noted("model.embed_tokens.weight is read from lm_head.weight")) << notes_;
  EXPECT_EQ(vectors(with_weights("both",
                                 [](NamedTensors& weights) {
                                   weights["lm_head.weight"] = zeros({300, 16}, DType::f32, Device::cpu);
                                 })),
            want);
  EXPECT_TRUE(noted("lm_head.weight is not used")) << notes_;
  edit(tied / "config.json", {{"tie_word_embeddings", false}});
  refused("missing: model.embed_tokens.weight; not used: none; if lm_head.weight is the embedding too", tied);
}

TEST_F(ModelFolders, weights_of_64_bits_are_converted) {
  const auto want = vectors(plain_);
  EXPECT_EQ(vectors(with_weights("f64",
                                 [](NamedTensors& weights) {
                                   for (auto& [name, tensor] : weights) tensor = tensor.to(DType::f64);
                                 })),
            want);
  EXPECT_TRUE(noted("tensors of 64-bit floats are converted to f32")) << notes_;
}

TEST_F(ModelFolders, quantised_weights_are_refused_by_name) {
  const fs::path model = copy("quantised");
  edit(model / "config.json", {{"quantization_config", {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}}});
  refused("config.json: quantization_config says that the weights are quantised by bitsandbytes in 4 bits", model);
  edit(model / "config.json", {{"quantization_config", {{"quant_method", "fp8"}, {"load_in_4bit", nullptr}}}});
  refused("quantised by fp8; quantised weights are not read", model);
  const auto with = [&](const char* name, const char* extra, DType dtype) {  // by what the weights look like
    return with_weights(name, [&](NamedTensors& weights) { weights[extra] = zeros({300, 1}, dtype, Device::cpu); });
  };
  const std::string layer = "model.layers.0.mlp.up_proj.";
  for (const char* name : {"qweight", "weight.absmax", "SCB", "weight_scale_inv"})
    refused(name + std::string(" shows that the weights are quantised; quantised weights are not read"),
            with(name, (layer + name).c_str(), DType::f32));
  refused("embed_tokens.weight is u8[300, 1], the configuration needs [300, 16]; quantised weights are not read",
          with("bytes", "model.embed_tokens.weight", DType::u8));
  for (const char* type : {"I8", "F8_E4M3"}) {
    std::string file = read_text(plain_ / kWeightsFile);
    const size_t at = file.find(R"("dtype":"F32")");
    file.replace(at, 13, std::string(R"("dtype":")") + type + '"');
    const int64_t more = int64_t(std::string(type).size()) - 3;
    file[0] = char(uint8_t(file[0]) + more);  // the header's length
    write_text(model / kWeightsFile, file);
    edit(model / "config.json", {{"quantization_config", nullptr}});
    refused(std::string("has type ") + type, model);
    refused("; quantised weights are not read", model);
  }
}

TEST_F(ModelFolders, a_wrappers_prefix_is_named) {
  for (const std::string prefix : {"module.", "_orig_mod.", "model._orig_mod."})
    refused("; all names begin with " + prefix + ", which a wrapper of the model adds: save the model without it",
            renamed(prefix, [&](const std::string& name) { return prefix + name; }));
}

TEST_F(ModelFolders, rotary_angles_and_channels_of_other_models_are_refused) {
  const fs::path model = copy("rope");
  const auto refuses = [&](const json& patch, const std::string& part) {
    const json before = read_json(model / "config.json");
    edit(model / "config.json", patch);
    refused("config.json: " + part, model);
    write_json(model / "config.json", before);
  };
  refuses({{"rope_scaling", {{"type", "yarn"}, {"rope_type", "default"}}}}, "the rotary embedding is of type \"yarn\"");
  refuses({{"rope_scaling", {{"type", "default"}, {"rope_type", "yarn"}}}}, "the rotary embedding is of type \"yarn\"");
  for (const json& rope : {json{{"rope_theta", 100.0}}, json{{"rope_theta", 10000.0}, {"rope_type", "yarn"}}})
    refuses({{"vision_config", {{"rope_parameters", rope}}}}, "rope_parameters of vision_config are ");
  refuses({{"vision_config", {{"in_channels", 1}}}}, "in_channels is 1, expected 3");
  refuses({{"tie_word_embeddings", "yes"}}, "tie_word_embeddings is \"yes\": type must be boolean");
  edit(model / "config.json",
       {{"vision_config", {{"rope_parameters", {{"rope_theta", 1e4}, {"rope_type", "axial"}}}}}});
  EXPECT_EQ(vectors(model), vectors(plain_));
  edit(model / "preprocessor_config.json", {{"temporal_patch_size", 1}});
  refused("preprocessor_config.json: temporal_patch_size is 1, in ", model);
}

TEST_F(ModelFolders, what_rope_parameters_leave_out_is_as_in_transformers) {
  json config = read_json(plain_ / "config.json");
  config["hidden_size"] = 256, config["vision_config"]["hidden_size"] = 256;
  config.erase("rope_scaling"), config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 5000.0}, {"rope_type", "default"}};
  write_json(folder_ / "config.json", config);
  const QwenVlConfig read = qwen_config(folder_ / "config.json");
  EXPECT_EQ(read.mrope_section, (std::vector{16, 24, 24}));
  EXPECT_EQ(read.text.rope_theta, 5000);
  config.erase("rope_parameters");
  write_json(folder_ / "config.json", config);
  EXPECT_EQ(qwen_config(folder_ / "config.json").text.rope_theta, 1e6);
  config["rope_parameters"] = {{"rope_theta", 5000.0}, {"mrope_section", {32, 16, 16}}};
  config["rope_scaling"] = nullptr;
  const json portable = json::parse(portable_config(config.dump()));
  EXPECT_EQ(portable.at("rope_scaling"), (json{{"type", "mrope"}, {"mrope_section", {32, 16, 16}}}));
  EXPECT_EQ(portable.at("rope_theta"), 5000);
}

// transformers saves only what differs from a class's defaults: Qwen2-VL's and Qwen2.5-VL's configurations of version
// 4.52.3; vision_start_token_id since 4.57.
TEST_F(ModelFolders, what_a_qwen_configuration_leaves_out_is_as_in_transformers) {
  const auto read = [&](const json& config) {
    write_json(folder_ / "config.json", config);
    return qwen_config(folder_ / "config.json");
  };
  json least = {{"model_type", "qwen2_vl"}, {"hidden_size", 3584}, {"num_attention_heads", 28}};
  least["num_key_value_heads"] = 4;
  for (const json& config : {least, json{{"model_type", "qwen2_vl"}, {"text_config", least}}}) {
    const QwenVlConfig c = read(config);
    EXPECT_EQ(std::tuple(c.text.vocab_size, c.text.intermediate_size, c.text.num_hidden_layers, c.text.rms_norm_eps),
              std::tuple(152064, 29568, 80, 1e-5));
    EXPECT_EQ(std::tuple(c.image_token_id, c.vision_start_token_id, c.tied, c.initializer_range),
              std::tuple(151655, 151652, false, 0.02));
    const QwenVisionConfig& v = c.vision;
    EXPECT_EQ(std::tuple(v.depth, v.embed_dim, v.num_heads, v.mlp_hidden, v.hidden_size, v.patch_size),
              std::tuple(32, 1280, 16, 5120, 3584, 14));
  }
  least["model_type"] = "qwen2_5_vl";
  const QwenVisionConfig v = read(least).vision;
  EXPECT_EQ(std::tuple(v.depth, v.embed_dim, v.num_heads, v.mlp_hidden, v.hidden_size, v.window_size),
            std::tuple(32, 3584, 16, 3420, 3584, 112));
  EXPECT_EQ(v.full_blocks, (std::vector{7, 15, 23, 31}));
  least["vision_config"] = {{"depth", 16}};
  EXPECT_EQ(read(least).vision.full_blocks, (std::vector{7, 15}));  // the others name no block
  least["num_attention_heads"] = nullptr, least["num_key_value_heads"] = nullptr, least["hidden_size"] = 8192;
  least["vision_config"] = {{"out_hidden_size", 8192}};
  EXPECT_EQ(read(least).text.num_attention_heads, 64);
  EXPECT_EQ(read(least).text.num_key_value_heads, 8);
}

TEST_F(ModelFolders, the_newer_processor_file_counts) {
  const auto want = vectors(plain_), smaller = vectors(plain_, {}, 128);
  ASSERT_NE(want, smaller);
  const fs::path model = copy("five");
  write_json(model / "processor_config.json", nested(plain_, 64, 4096));
  EXPECT_EQ(vectors(model), want);
  EXPECT_FALSE(noted("preprocessor_config.json")) << notes_;  // the two say the same
  write_json(model / "processor_config.json", nested(plain_, 64, 128));
  EXPECT_EQ(vectors(model), smaller);
  EXPECT_TRUE(noted("preprocessor_config.json is not used: the newer file")) << notes_;
  EXPECT_TRUE(noted(R"(has max_pixels 128, size {"shortest_edge":64,"longest_edge":128}, this one has max_pixels 4096)"))
      << notes_;
  edit(model / "preprocessor_config.json", {{"image_positions", "3d"}});  // of the training, too
  vectors(model);
  EXPECT_TRUE(noted("no image_positions, this one has ") && noted(R"(image_positions "3d")")) << notes_;
  fs::remove(model / "preprocessor_config.json");  // transformers 5 writes none
  EXPECT_EQ(vectors(model), smaller);
  EXPECT_EQ(notes_, "");
  write_json(model / "processor_config.json", {{"processor_class", "Qwen2VLProcessor"}});
  refused("five: has neither processor_config.json with an image_processor nor preprocessor_config.json", model);
}

TEST_F(ModelFolders, a_size_in_other_words_is_refused) {
  const fs::path model = copy("size");
  edit(model / "preprocessor_config.json", {{"size", nullptr}});
  edit(model / "preprocessor_config.json",
       {{"min_pixels", nullptr}, {"max_pixels", nullptr}, {"size", {{"min_pixels", 64}, {"max_pixels", 128}}}});
  refused("preprocessor_config.json: size is {\"max_pixels\":128,\"min_pixels\":64} without shortest_edge", model);
  edit(model / "preprocessor_config.json", {{"min_pixels", 64}, {"max_pixels", 128}});  // as 4.45 wrote: these count
  EXPECT_EQ(vectors(model), vectors(plain_, {}, 128));
}

TEST_F(ModelFolders, bounds_that_contradict_each_other_are_named) {
  const auto refused = [&](int64_t min_pixels, int64_t max_pixels, const std::string& sentence) {
    expect_error(Exit::usage, sentence,
                 [&] { load_encoder(plain_, {.min_pixels = min_pixels, .max_pixels = max_pixels}); });
  };
  const std::string file = plain_ / "preprocessor_config.json";
  refused(0, 50,
          "--resize_max_pixels 50 is below min_pixels 64 of " + file + "; give --resize_min_pixels too, at most 50");
  refused(5000, 0, "max_pixels 4096 of " + file + " is below --resize_min_pixels 5000; give --resize_max_pixels too");
  refused(90, 80,
          "--resize_max_pixels 80 is below --resize_min_pixels 90; give the smaller one as --resize_min_pixels");
}

TEST_F(ModelFolders, an_adapter_beside_the_weights_is_applied) {
  const fs::path lora = adapter("lora"), model = copy("whole");
  const auto want = vectors(plain_, lora);
  ASSERT_NE(want, vectors(plain_));
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
    fs::copy_file(lora / name, model / name);
  EXPECT_EQ(vectors(model), want);
  EXPECT_TRUE(noted("the adapter beside the weights is applied")) << notes_;
  EXPECT_EQ(vectors(model, model), want);
  refused("has an adapter beside its weights, and --adapter names another", model, lora);
  ASSERT_EQ(
      run_command({"merge", "--model_name", model, "--adapter", model, "--output_dir", folder_ / "merged", "--quiet"}),
      Exit::ok);
  EXPECT_FALSE(fs::exists(folder_ / "merged/adapter_config.json"));
  const auto merged = vectors(folder_ / "merged");
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(merged[i], want[i], 1e-5);
  expect_error(Exit::data, "names another", [&] {
    run_command({"merge", "--model_name", model, "--adapter", lora, "--output_dir", folder_ / "x"});
  });
  TrainOptions train;
  train.model_name = model;
  std::vector<std::string> notes;
  expect_error(Exit::data, "train the adapter with --adapter", [&] { load_trained_model(train, {}, {}, notes); });
  fs::remove(model / "adapter_config.json");
  refused("has an adapter's tensors beside the weights, but no adapter_config.json", model);
  refused("is an adapter; name it with --adapter and its base model (the/base) with --model_name", lora);
}

TEST_F(ModelFolders, an_adapters_own_processor_and_tokenizer_are_used) {
  const fs::path lora = adapter("lora");
  const auto small = vectors(plain_, lora, 128);
  ASSERT_NE(small, vectors(plain_, lora));
  json file = read_json(plain_ / "preprocessor_config.json");
  file["max_pixels"] = 128;
  write_json(lora / "preprocessor_config.json", file);
  EXPECT_EQ(vectors(plain_, lora), small);
  EXPECT_TRUE(noted("plain/preprocessor_config.json is not used: the adapter's own file")) << notes_;
  EXPECT_EQ(vectors(plain_, lora, 4096), vectors(plain_, adapter("bare")));  // what is asked for goes first
  edit(lora / "preprocessor_config.json", {{"max_pixels", 4096}, {"image_mean", {0.5, 0.25, 0.125}}});
  vectors(plain_, lora);
  EXPECT_TRUE(noted("has image_mean [0.5,0.25,0.125], this one has image_mean [0.48145466,")) << notes_;
  write_json(lora / "preprocessor_config.json", file);
  ASSERT_EQ(
      run_command({"merge", "--model_name", plain_, "--adapter", lora, "--output_dir", folder_ / "merged", "--quiet"}),
      Exit::ok);
  EXPECT_EQ(rule_of(folder_ / "merged").max_pixels, 128);

  const std::vector<std::string> texts = {"completely different words", "other words again"};
  write_tokenizer_json(lora / "tokenizer.json", train_bpe(texts, 300));
  const auto other = vectors(plain_, lora);
  EXPECT_NE(other, small);
  EXPECT_TRUE(noted("its tokenizer takes the place of the model's")) << notes_;
  const fs::path model = copy("other-words");
  fs::copy_file(lora / "tokenizer.json", model / "tokenizer.json", fs::copy_options::overwrite_existing);
  EXPECT_EQ(vectors(model, lora), other);
  const ModelFolder seen = look_at_model_folder(plain_, lora);
  Encoder(seen).processor.write_adapter_files(folder_.path());  // so that an adapter trained on from it has them, too
  EXPECT_EQ(read_text(folder_ / "tokenizer.json"), read_text(lora / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(folder_ / "config.json"));
}

// What is written is read alike by transformers 4.52, which fails on a nested image_processor, and by 5.
TEST_F(ModelFolders, processor_files_are_written_as_all_versions_read_them) {
  const fs::path model = copy("five"), out = folder_ / "out";
  json file = nested(plain_, 64, 4096);
  file["image_processor"]["image_mean"] = {0.5, 0.25, 0.125};
  write_json(model / "processor_config.json", file);
  fs::create_directories(out);
  const auto written = [&](const EncoderOptions& options) {
    load_encoder(model, options)->processor.write_configuration(out);
    EXPECT_EQ(read_json(out / "processor_config.json"), (json{{"processor_class", "Qwen2VLProcessor"}}));
    EXPECT_EQ(read_json(out / "video_preprocessor_config.json"), file["video_processor"]);
    const json flat = read_json(out / "preprocessor_config.json");
    EXPECT_EQ(flat["size"], (json{{"shortest_edge", flat["min_pixels"]}, {"longest_edge", flat["max_pixels"]}}));
    EXPECT_EQ(flat["image_mean"], file["image_processor"]["image_mean"]);
    return rule_of(out);
  };
  EXPECT_EQ(written({}).settings(), rule_of(model).settings());
  const SmartResize moved = written({.min_pixels = 100, .max_pixels = 200});
  EXPECT_EQ(moved.min_pixels, 100);
  EXPECT_EQ(moved.max_pixels, 200);
}

TEST(ProcessorFiles, of_new_models_name_the_familys_class) {
  const TemporaryFolder folder("class");
  std::map<std::string, std::string> classes;
  for (const Family& family : families()) {
    write_json(folder / "config.json", family.tiny_config(16));
    const auto rule = new_picture_rule(family, make_backbone(folder / "config.json")->input(), 0, 0);
    classes[family.model_type] = rule->settings().at("processor_class");
    nlohmann::ordered_json without = {{"min_pixels", 64}};
    rule->update(without, true);
    EXPECT_EQ(without.at("processor_class"), classes[family.model_type]);
  }
  EXPECT_EQ(classes, (std::map<std::string, std::string>{{"qwen2_vl", "Qwen2VLProcessor"},
                                                         {"qwen2_5_vl", "Qwen2_5_VLProcessor"},
                                                         {"phi3_v", "Phi3VProcessor"},
                                                         {"qwen3_vl", "Qwen3VLProcessor"},
                                                         {"clip", "CLIPProcessor"},
                                                         {"openclip", "CLIPProcessor"},
                                                         {"siglip", "SiglipProcessor"},
                                                         {"blip-2", "Blip2Processor"},
                                                         {"uniir-clip-sf", "CLIPProcessor"},
                                                         {"uniir-blip-ff", "BlipProcessor"},
                                                         {"llava_next", "LlavaNextProcessor"}}));
}

}  // namespace
}  // namespace vlm2vec
