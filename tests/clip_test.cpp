// A CLIP of a few thousand parameters: its configuration, its rows, its training.
#include "vlm/families/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "expect_error.h"
#include "mmeb/training/grad_cache.h"
#include "nn/optim.h"
#include "nn/peft.h"
#include "tensor/finite.h"
#include "tiny_model.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

const Family& clip() {
  return *std::ranges::find(families(), "clip", &Family::model_type);
}

class TinyClip : public testing::Test {
 protected:
  TinyClip() {
    write_config(clip().tiny_config(16));
    write_tokenizer_json(folder_ / "tokenizer.json", train_bpe(Strings{"a red cat", "a blue dog", "what is this?"}, 300));
    for (int i = 0; i < 6; ++i) {
      Image picture(20 + 3 * i, 30 - i, 3);
      Random random{uint64_t(i)};
      for (uint8_t& sample : picture.pixels) sample = uint8_t(random.below(256));
      write_png(folder_ / (std::to_string(i) + ".png"), picture);
    }
    save_weights();
  }
  void write_config(const json& config) const {
    write_json(folder_ / "config.json", config);
    const auto backbone = make_backbone(folder_ / "config.json");
    write_picture_rule(*new_picture_rule(clip(), backbone->input(), 0, 0), folder_.path());
  }
  void save_weights() const {
    const auto backbone = make_backbone(folder_ / "config.json");
    initialise(*backbone, 0.2, 1, DType::f32, Device::cpu);
    save_safetensors(folder_ / "model.safetensors", state_dict(*backbone));
  }
  // The number comes first: the tiny tokenizer has no end token, and the vector is that of the largest id.
  EncoderInput text(int i) const { return {std::to_string(i) + " what is this?", {}, uint64_t(2 * i)}; }
  EncoderInput picture(int i) const { return {"", {folder_ / (std::to_string(i) + ".png")}, uint64_t(2 * i + 1)}; }
  // A text, a picture, both, a text, …
  std::vector<EncoderInput> rows(int n, int first) const {
    std::vector<EncoderInput> all;
    for (int i = first; i < first + n; ++i) {
      all.push_back(i % 3 == 0 ? text(i) : picture(i % 6));
      if (i % 3 == 2) all.back().text = text(i).text;
      all.back().dropout_id = uint64_t(i);
    }
    return all;
  }
  std::vector<double> embedding(const EncoderInput& row, const EncoderOptions& options = {}) const {
    return to_vector<double>(embed(*load_encoder(folder_.path(), options), {&row, 1}, 1));
  }
  const TemporaryFolder folder_{"clip"};
};

TEST_F(TinyClip, rows_do_not_depend_on_their_batch) {
  const auto encoder = load_encoder(folder_.path());
  const auto all = rows(9, 0);
  const auto together = to_vector<float>(embed(*encoder, all, 9));
  for (const int64_t batch : {1, 2, 5}) EXPECT_EQ(to_vector<float>(embed(*encoder, all, batch)), together) << batch;
  encoder->backbone->gradient_checkpointing = true;
  EXPECT_EQ(to_vector<float>(embed(*encoder, all, 9)), together);
}

// A row of both is the sum of the projections, before they are normalised.
TEST_F(TinyClip, a_row_of_both_is_the_normalised_sum) {
  const auto encoder = load_encoder(folder_.path());
  EncoderInput both = picture(1);
  both.text = text(1).text;
  std::map<std::string, std::vector<double>> stage;
  for (const EncoderInput& row : {text(1), picture(1)})
    for (const Stage& s : stages_of(*encoder, row).list) stage[s.name] = to_vector<double>(s.value);
  std::vector<double> sum = stage.at("text_embeds");
  double length = 0;
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += stage.at("image_embeds")[i], length += sum[i] * sum[i];
  const auto vector = to_vector<double>(embed(*encoder, {&both, 1}, 1));
  for (size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(vector[i], sum[i] / std::sqrt(length), 1e-6);
}

std::vector<double> gradients(const std::filesystem::path& folder, const std::vector<EncoderInput>& queries,
                              const std::vector<EncoderInput>& targets, const Strings& adapted, bool freeze,
                              int64_t chunk, bool checkpointing = false) {
  const auto encoder = load_encoder(folder, {.f64 = true});
  Backbone& backbone = *encoder->backbone;
  std::vector<Parameter*> trained = backbone.parameters();
  if (!adapted.empty()) {
    trained = attach_lora(backbone, {2, 4.0, 0.3, adapted}, &backbone.dropout).parameters();
    for (size_t i = 0; i < trained.size(); ++i)
      trained[i]->set(normal_tensor(trained[i]->shape(), 0.2, i, DType::f64, Device::cpu));  // B = 0 would hide A
    backbone.dropout.active = true, backbone.dropout.seed = 5;
  }
  if (freeze) std::erase_if(trained, [](const Parameter* p) { return p->path().starts_with("vision_model."); });
  backbone.gradient_checkpointing = checkpointing;
  const TrainedParameters parameters(trained);
  contrastive_step(*encoder, queries, targets, {.temperature = 0.2, .query_chunk = chunk, .target_chunk = chunk});
  return to_vector<double>(parameters.gradients());
}

// Whatever is trained, chunks, a kept output of the frozen tower and layers that run twice give the same gradients,
// under dropout as well.
TEST_F(TinyClip, chunks_give_the_gradients_of_the_whole_batch) {
  const auto queries = rows(9, 0), targets = rows(9, 10);
  const Strings projections = {"visual_projection", "text_projection"}, all = {"q_proj", "out_proj", "fc1", "fc2",
                                                                              "visual_projection", "text_projection"};
  for (const auto& [adapted, freeze] : {std::pair(Strings{}, false), {Strings{}, true}, {all, false}, {projections, true}}) {
    SCOPED_TRACE(sentence(adapted.size(), " adapted", freeze ? ", frozen tower" : ""));
    const auto plain = gradients(folder_.path(), queries, targets, adapted, freeze, 0);
    for (const int64_t chunk : {1, 4, -1}) {
      const auto other = gradients(folder_.path(), queries, targets, adapted, freeze, std::max<int64_t>(chunk, 0), chunk < 0);
      double difference = 0, size = 0;
      for (size_t i = 0; i < plain.size(); ++i)
        difference += (other[i] - plain[i]) * (other[i] - plain[i]), size += plain[i] * plain[i];
      EXPECT_GT(size, 0);
      EXPECT_LE(std::sqrt(difference / size), 1e-12) << "chunk " << chunk;
    }
  }
}

// The last loss of 40 steps on six pairs of a text and a picture; `shuffled`: another picture each step.
double loss_after_training(Encoder& encoder, const std::vector<EncoderInput>& texts,
                           const std::vector<EncoderInput>& pictures, const AttachedLora& lora, bool shuffled) {
  TrainedParameters parameters(lora.parameters());
  AdamW optimiser(parameters, {});
  double loss = 0;
  for (uint64_t step = 0; step < 40; ++step) {
    std::vector<EncoderInput> targets = pictures;
    if (shuffled) std::ranges::rotate(targets, targets.begin() + int64_t(1 + step % 5));
    parameters.clear_gradients();
    loss = item(contrastive_step(encoder, texts, targets, {.temperature = 0.2}).loss);
    optimiser.step(0.02, 1);
    lora.update();
  }
  return loss;
}

TEST_F(TinyClip, adapters_learn_and_go_through_a_folder) {
  const LoraConfig config{4, 8.0, 0, {"q_proj", "v_proj", "fc1", "fc2", "visual_projection", "text_projection"}};
  std::vector<EncoderInput> texts, pictures;
  for (int i = 0; i < 6; ++i) texts.push_back(text(i)), pictures.push_back(picture(i));
  const auto trained = load_encoder(folder_.path()), control = load_encoder(folder_.path());
  const AttachedLora lora = attach_lora(*trained->backbone, config, nullptr),
                     other = attach_lora(*control->backbone, config, nullptr);
  lora.initialise(1), other.initialise(1);
  EXPECT_EQ(lora.adapters.size(), 2u * 2 * 4 + 2);
  EXPECT_LT(loss_after_training(*trained, texts, pictures, lora, false), 0.2 * std::log(6));
  EXPECT_GT(loss_after_training(*control, texts, pictures, other, true), 0.7 * std::log(6));

  for (const Spelling names : {Spelling::hub, Spelling::official}) {
    save_adapter(lora, folder_ / "adapter", folder_.path(), names);
    const auto read = load_encoder(folder_.path());
    std::vector<std::string> notes;
    load_adapter(*read->backbone, folder_ / "adapter", {}, nullptr, notes);
    EXPECT_EQ(notes.at(0), "adapter: 18 of 18 modules matched");
    EXPECT_EQ(to_vector<float>(embed(*read, pictures, 6)), to_vector<float>(embed(*trained, pictures, 6)));
    const NamedTensors tensors = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
    EXPECT_TRUE(tensors.contains("base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"));
  }
}

// Integrated gradients: the shares add up; the tokens around a text say nothing.
TEST_F(TinyClip, shares_of_a_score_add_up) {
  const auto encoder = load_encoder(folder_.path(), {.f64 = true});
  const EncoderInput other = text(4);
  const Tensor target = embed(*encoder, {&other, 1}, 1);
  for (const EncoderInput& row : rows(3, 0)) {
    const Attribution a = attribute(*encoder, row, target);
    EXPECT_EQ(a.words.empty(), row.text.empty());
    EXPECT_EQ(a.pictures.size(), row.images.size());
    double sum = 0, size = 0;
    const auto add = [&](double share) { sum += share, size += std::abs(share); };
    for (const auto& [word, share] : a.words) add(share);
    for (const PictureAttribution& picture : a.pictures) {
      EXPECT_EQ(picture.rows * picture.columns, 16);
      for (const float share : picture.shares) add(share);
    }
    EXPECT_GT(size, 1e-3);
    EXPECT_NEAR(sum, a.score - a.nothing, 0.01 * size);
  }
}

TEST_F(TinyClip, stages_account_for_every_parameter) {
  const auto encoder = load_encoder(folder_.path());
  EncoderInput both = picture(1);
  both.text = "a red cat";
  int64_t told = 0;
  for (const Stage& stage : stages_of(*encoder, both).list) {
    EXPECT_FALSE(stage.note.text.empty()) << stage.name;
    told += stage.note.parameters;
    if (stage.name.find("_layer_") != std::string::npos || stage.name.find("_block_") != std::string::npos) {
      EXPECT_GT(stage.note.flops, 2.0 * double(stage.value.rows()) * 1000) << stage.name;
    }
  }
  EXPECT_EQ(told, count_parameters(*encoder->backbone) - 1);  // but the logit scale
}

// transformers' rules: a tower's fields stand over defaults; text_config_dict counts before text_config.
TEST_F(TinyClip, configurations_of_every_age) {
  const json tiny = read_json(folder_ / "config.json");
  const auto input = [&](const json& config) { return write_config(config), make_backbone(folder_ / "config.json")->input(); };
  json older = tiny;
  older["text_config_dict"] = older["text_config"];
  older["text_config"]["vocab_size"] = 17;
  older["vision_config_dict"] = nullptr;
  EXPECT_EQ(input(older).vocab_size, 300);
  json none = {{"model_type", "clip"}};
  EXPECT_EQ(input(none).vocab_size, 49408);
  EXPECT_EQ(input(none).most_tokens, 77);
  EXPECT_EQ(input(none).patch_size, 32);
  EXPECT_EQ(make_backbone(folder_ / "config.json")->dim(), 512);
  const auto refused = [&](const char* tower, const char* field, const json& value, const std::string& fault) {
    json config = tiny;
    config[tower][field] = value;
    write_json(folder_ / "config.json", config);
    expect_error(Exit::data, fault, [&] { make_backbone(folder_ / "config.json"); });
  };
  refused("text_config", "hidden_act", "gelu_new", "hidden_act of text_config is \"gelu_new\", expected quick_gelu, gelu or gelu_pytorch_tanh");
  refused("vision_config", "patch_size", 5, "image_size of vision_config must be a multiple of its patch_size");
  refused("vision_config", "num_attention_heads", 3, "hidden_size 16 of vision_config is not a multiple of");
  refused("text_config", "eos_token_id", -1, "eos_token_id is -1");
}

// As CLIPModel's weights are in transformers 4.52.3, whose CLIPConfig ignores a factor of its own.
TEST_F(TinyClip, new_weights_have_the_deviations_of_transformers) {
  const json text = {{"hidden_size", 64}, {"num_hidden_layers", 3}, {"num_attention_heads", 4}, {"vocab_size", 300},
                     {"intermediate_size", 256}, {"initializer_factor", 3.0}, {"initializer_range", 0.5}},
             vision = {{"hidden_size", 128}, {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"image_size", 32},
                       {"intermediate_size", 512}, {"patch_size", 4}, {"initializer_factor", 5.0},
                       {"initializer_range", 0.05}};
  write_config({{"model_type", "clip"}, {"projection_dim", 96}, {"initializer_factor", 7.0}, {"text_config", text},
                {"vision_config", vision}});
  const auto backbone = make_backbone(folder_ / "config.json");
  std::map<std::string, double> expected = {{"text_model.embeddings.token_embedding.weight", 0.06},
                                            {"text_model.embeddings.position_embedding.weight", 0.06},
                                            {"vision_model.embeddings.class_embedding", 0.441942},
                                            {"vision_model.embeddings.patch_embedding.weight", 0.25},
                                            {"vision_model.embeddings.position_embedding.weight", 0.25},
                                            {"text_projection.weight", 0.125},
                                            {"visual_projection.weight", 0.0883883}};
  const auto layers = [&](const std::string& tower, int count, double qkv, double out, double fc1) {
    for (int i = 0; i < count; ++i) {
      const std::string layer = sentence(tower, ".encoder.layers.", i, ".");
      for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc2"})
        expected[layer + name + ".weight"] = qkv;
      expected[layer + "self_attn.out_proj.weight"] = out, expected[layer + "mlp.fc1.weight"] = fc1;
    }
  };
  layers("text_model", 3, 0.153093, 0.375, 0.265165);
  layers("vision_model", 2, 0.220971, 0.441942, 0.3125);
  size_t random = 0;
  for (Parameter* p : backbone->parameters()) {
    const auto found = expected.find(p->path());
    if (!p->is_matrix() && found == expected.end()) continue;  // biases, norms, the scale
    ASSERT_NE(found, expected.end()) << p->path();
    EXPECT_NEAR(backbone->initial_std(*p), found->second, 1e-6) << p->path();
    ++random;
  }
  EXPECT_EQ(random, expected.size());
}

// As Hugging Face's Trainer: all but biases and the weights of norms. It leaves parameters without a gradient alone.
TEST_F(TinyClip, matrices_the_class_embedding_and_magnitudes_decay) {
  const auto decayed_vectors = [&](const std::vector<Parameter*>& all) {
    for (Parameter* p : all) p->set(full(p->shape(), 1, DType::f32, Device::cpu));
    const TrainedParameters parameters(all);
    AdamW(parameters, {.weight_decay = 0.5}).step(0.1, 1);  // with gradients of 0
    Strings vectors;
    for (const Parameter* p : all) {
      const double value = to_vector<double>(p->value())[0];
      if (p->is_matrix()) EXPECT_NEAR(value, 0.95, 1e-6) << p->path();
      else if (value != 1) vectors.push_back(p->path());
    }
    return vectors;
  };
  const auto encoder = load_encoder(folder_.path());
  Backbone& backbone = *encoder->backbone;
  EXPECT_EQ(decayed_vectors(backbone.parameters()), Strings{"vision_model.embeddings.class_embedding"});
  const AttachedLora dora = attach_lora(backbone, {2, 4.0, 0, {"text_projection"}, true}, nullptr);
  EXPECT_EQ(decayed_vectors(dora.parameters()), Strings{"text_projection.lora_magnitude_vector"});
}

// What the configuration says changes the vectors that it should.
TEST_F(TinyClip, activation_and_end_token_are_the_configurations) {
  json config = read_json(folder_ / "config.json");
  const auto before = std::pair(embedding(text(1)), embedding(picture(1)));
  const auto after = [&] { return write_config(config), std::pair(embedding(text(1)), embedding(picture(1))); };
  config["vision_config"]["hidden_act"] = "gelu";
  EXPECT_EQ(after().first, before.first);
  EXPECT_NE(after().second, before.second);
  config["vision_config"].erase("hidden_act");
  const EncoderInput row = text(1);
  const auto ids = to_vector<int64_t>(load_encoder(folder_.path())->prepare({&row, 1}).ids);
  config["text_config"]["eos_token_id"] = *std::ranges::max_element(ids);
  EXPECT_EQ(after(), before) << "the largest id";
  config["text_config"]["eos_token_id"] = ids[0];
  EXPECT_NE(after().first, before.first);
  config["text_config"]["eos_token_id"] = 299;
  expect_error(Exit::data, "eos_token_id of text_config is 299, but the tokenizer ends no text with that token", after);
}

TEST_F(TinyClip, files_and_options_that_do_not_fit_are_refused) {
  const auto load = [&](const EncoderOptions& options = {}) { return load_encoder(folder_.path(), options); };
  expect_error(Exit::usage, "--resize_max_pixels: by ", [&] { load({.max_pixels = 1000}); });
  expect_error(Exit::usage, "--image_resolution high: every picture becomes 16x16 pixels",
               [&] { load({.image_resolution = "high"}); });
  expect_error(Exit::usage, "--image_positions 1d: CLIP has one way to count positions; leave the option out",
               [&] { load({.image_positions = "1d"}); });
  NamedTensors weights = load_safetensors(folder_ / "model.safetensors");
  EXPECT_EQ(weights.at("logit_scale").shape(), Shape{});
  EXPECT_NEAR(item(weights.at("logit_scale")), std::log(1 / 0.07), 1e-6);
  EXPECT_NE(to_vector<float>(weights.at("vision_model.embeddings.class_embedding")), std::vector<float>(16, 1.0f));
  weights["text_model.embeddings.position_ids"] = from_vector<int64_t>({0, 1, 2}, {1, 3});
  save_safetensors(folder_ / "model.safetensors", weights);
  EXPECT_EQ(load()->notes.at(0), "text_model.embeddings.position_ids is not used: positions are counted");
  json file = read_json(folder_ / "preprocessor_config.json");
  file["crop_size"] = 20;
  write_json(folder_ / "preprocessor_config.json", file);
  expect_error(Exit::data, "makes pictures of 20 pixels to a side, in ", load);
}

}  // namespace
}  // namespace vlm2vec
