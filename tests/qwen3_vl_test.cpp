// Qwen3-VL and Qwen3-VL-Embedding against the official code's numbers: tests/golden/qwen3_vl, or another folder of that
// layout.
#include "vlm/families/qwen3_vl.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "devices.h"
#include "expect_error.h"
#include "golden.h"
#include "golden_loss.h"
#include "io/files.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "tensor/parallel.h"
#include "tiny_model.h"
#include "vlm/families/qwen_prompts.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

std::filesystem::path file(const std::string& name) { return golden("qwen3_vl") / name; }

// Builds the prompt by its style. The official code joins several texts without a separator.
EncoderInput input_of(const json& c) {
  std::string style = "raw", text;
  if (c.at("style") == "embedding")
    style = c.value("report", false) ? "qwen3-vl-embedding-report" : "qwen3-vl-embedding";
  const json texts = c.value("text", json(""));
  if (texts.is_string()) text = texts;
  else
    for (const json& part : texts) text += part.get<std::string>();
  const json images = c.value("images", json::array());
  const PromptStyle& chosen = prompt_style(qwen3_prompts(), style);
  const Prompt built = chosen.build({c.value("instruction", ""), text, images.size()}, "<|image_pad|>");
  EXPECT_EQ(built.text, c.at("prompt"));
  EncoderInput input{.text = built.text, .images = {}, .route = chosen.route, .uncounted = chosen.uncounted};
  for (const size_t picture : built.pictures)
    input.images.push_back(file("images/" + images[picture].get<std::string>()));
  return input;
}

EncoderOptions options_of(const json& c, Device device = Device::cpu) {
  if (!c.contains("limits")) return {.device = device};
  return {.device = device, .min_pixels = c.at("limits")[0], .max_pixels = c.at("limits")[1]};
}

std::unique_ptr<Encoder> model(const EncoderOptions& options = {}) { return load_encoder(file("tiny"), options); }

json all_cases() { return read_json(file("cases.json")).at("cases"); }

double limit_of(const std::string& stage) {
  if (stage == "pixel_values") return 0;
  if (stage == "embedding") return 5e-6;
  if (stage == "patch_embed" || stage == "vision_input") return 2e-5;
  return stage == "vision_merger" || stage.starts_with("deepstack") ? 1e-4 : 2e-4;
}

// The resized pictures: their sizes and the sums of their bytes.
void check_pictures(const json& c, const Encoder& encoder, const EncoderInput& input) {
  for (size_t i = 0; i < input.images.size(); ++i) {
    const auto image = encoder.processor.picture(input, input.images[i]);
    EXPECT_EQ((json{image->width, image->height}), c.at("resized")[i].at("size"));
    std::vector<int64_t> sums(3);
    for (size_t at = 0; at < image->pixels.size(); ++at) sums[at % 3] += image->pixels[at];
    EXPECT_EQ(json(sums), c.at("resized")[i].at("channel_sums"));
  }
}

// Returns the number of cases with pictures.
int check_forward(Device device) {
  const NamedTensors expected = load_safetensors(file("expected.safetensors"));
  const int64_t kept = read_json(file("cases.json")).at("mrl_dimension");
  int pictured = 0;
  for (const json& c : all_cases()) {
    const std::string prefix = std::string(c.at("name")) + "/";
    SCOPED_TRACE(prefix);
    EncoderOptions options = options_of(c, device);
    const auto encoder = model(options);
    const EncoderInput input = input_of(c);
    if (too_slow_for(device, encoder->prepare({&input, 1}))) continue;
    check_pictures(c, *encoder, input);
    pictured += !input.images.empty();
    GoldenStages stages{expected, prefix, limit_of, c.at("positions") == "1d", {"embedding_mrl"}};
    stages.compare_all(*encoder, input);
    stages.expect_all_seen();
    options.dim = kept;
    EXPECT_LE(distance(embed(*model(options), {&input, 1}, 1), expected.at(prefix + "embedding_mrl")), 1e-5);
    options.dim = 0, options.bf16 = true;
    EXPECT_GE(cosine(embed(*model(options), {&input, 1}, 1), expected.at(prefix + "embedding")), 0.999);
  }
  return pictured;
}

TEST(Qwen3VlGolden, forward) {
  NEEDS_GOLDEN("qwen3_vl")
  EXPECT_GE(check_forward(Device::cpu), 15);
}
TEST(Qwen3VlGolden, forward_on_devices) {
  NEEDS_GOLDEN("qwen3_vl")
  for (const Device device : kernel_devices()) EXPECT_GE(check_forward(device), 5) << name_of(device);
}

TEST(Qwen3VlGolden, sizes_by_both_codes) {
  NEEDS_GOLDEN("qwen3_vl")
  int compared = 0;
  for (const json& c : read_json(file("smart_resize.json"))) {
    SmartResize own;
    own.patch_size = 16, own.sides = Sides::transformers;
    own.min_pixels = c.at("min_pixels"), own.max_pixels = c.at("max_pixels");
    own.min_given = own.max_given = true;
    const auto theirs = own.along(PictureRoute::qwen3_embedding);
    for (const auto& [name, rule] : {std::pair("transformers", &own),
                                     {"qwen_vl_utils", dynamic_cast<SmartResize*>(theirs.get())}}) {
      SCOPED_TRACE(c.dump() + name);
      const Size size{c.at("width"), c.at("height")};
      if (c.at(name).is_null()) {
        expect_error(Exit::data, "200 : 1", [&] { rule->size_of(size); });
      } else {
        const Size got = rule->size_of(size);
        EXPECT_EQ((json{got.height, got.width}), c.at(name));
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 100);
}

// All cases in one batch, in small ones, and alone; by one thread and by three.
TEST(Qwen3VlGolden, batches_give_the_same_bits) {
  NEEDS_GOLDEN("qwen3_vl")
  std::vector<EncoderInput> inputs;
  for (const json& c : all_cases())
    if (!c.contains("limits")) inputs.push_back(input_of(c));
  const auto encoder = model();
  const auto alone = to_vector<float>(embed(*encoder, inputs, 1));
  EXPECT_EQ(to_vector<float>(embed(*encoder, inputs, 64)), alone);
  const int before = threads();
  set_threads(before == 1 ? 3 : 1);
  EXPECT_EQ(to_vector<float>(embed(*encoder, inputs, 5)), alone);
  set_threads(before);
}

void check_loss_and_gradients(Device device, std::vector<int64_t> chunks, bool checkpointing) {
  const GoldenLoss golden(file(""), 2e-4);
  const auto encoder = model({.device = device});
  encoder->backbone->gradient_checkpointing = checkpointing;
  std::vector<EncoderInput> queries, targets;
  for (const json& c : golden.all.at("queries")) queries.push_back(input_of(c));
  for (const json& c : golden.all.at("targets")) targets.push_back(input_of(c));
  golden.compare_embeddings(*encoder, queries, targets, {5e-6, 1e-4, 5e-6, 2e-4});
  for (const int64_t chunk : chunks)
    golden.compare_step(*encoder, encoder->backbone->parameters(), queries, targets, chunk, 1e-4);
}

TEST(Qwen3VlGolden, loss_and_gradients) {
  NEEDS_GOLDEN("qwen3_vl")
  check_loss_and_gradients(Device::cpu, {0, 3}, false);
  check_loss_and_gradients(Device::cpu, {2}, true);
}
TEST(Qwen3VlGolden, loss_and_gradients_on_devices) {
  NEEDS_GOLDEN("qwen3_vl")
  for (const Device device : kernel_devices()) check_loss_and_gradients(device, {0}, false);
}

// A frozen tower runs once; its features reach the decoder's layers with the same bits.
TEST(Qwen3VlGolden, a_frozen_tower_gives_the_same_bits) {
  NEEDS_GOLDEN("qwen3_vl")
  const auto encoder = model();
  std::vector<EncoderInput> inputs;
  for (const json& c : all_cases())
    if (c.contains("images") && !c.contains("limits")) inputs.push_back(input_of(c));
  TokenBatch batch = encoder->prepare(inputs);
  const NoGrad no_grad;
  const auto want = to_vector<float>((*encoder)(batch).value());
  ASSERT_TRUE(encoder->backbone->run_frozen(batch));
  EXPECT_FALSE(batch.patches.defined());
  EXPECT_EQ(to_vector<float>((*encoder)(batch).value()), want);
}

// The two spellings of configurations, by transformers 4.57 and 5, and of tensors: AutoModel has no "model." in front.
TEST(Qwen3VlGolden, every_spelling_of_a_folder) {
  NEEDS_GOLDEN("qwen3_vl")
  const TemporaryFolder folder("spelling");
  std::filesystem::copy(file("tiny"), folder.path());
  const EncoderInput input = input_of(all_cases()[9]);
  const auto vector = [&](const std::filesystem::path& from) {
    return to_vector<float>(embed(*load_encoder(from), {&input, 1}, 1));
  };
  const auto want = vector(file("tiny"));
  json config = read_json(file("tiny/config.json"));
  json& text = config["text_config"];
  text["rope_parameters"] = text["rope_scaling"], text["rope_parameters"]["rope_theta"] = text["rope_theta"];
  text.erase("rope_scaling"), text.erase("rope_theta");
  config["vision_config"]["rope_parameters"] = {{"rope_type", "axial"}, {"rope_theta", 10000}};
  write_json(folder / "config.json", config);
  NamedTensors weights;
  for (const auto& [name, tensor] : load_safetensors(file("tiny/model.safetensors")))
    weights[name.substr(std::string("model.").size())] = tensor;
  save_safetensors(folder / "model.safetensors", weights);
  EXPECT_EQ(vector(folder.path()), want);
  const json portable = json::parse(portable_qwen3_vl(config.dump()));
  EXPECT_EQ(portable.at("text_config"), read_json(file("tiny/config.json")).at("text_config"));
}

TEST(Qwen3Vl, configurations_that_are_not_understood_are_refused) {
  const auto refused = [](const json& patch, const std::string& sentence) {
    json config = tiny_qwen3_vl(16);
    config.merge_patch(patch);
    expect_error(Exit::data, sentence, [&] { make_qwen3_vl(json::parse(config.dump())); });
  };
  EXPECT_EQ(make_qwen3_vl(json::parse(tiny_qwen3_vl(16).dump()))->dim(), 16);
  refused({{"text_config", {{"attention_bias", true}}}}, "attention_bias must be false");
  refused({{"vision_config", {{"num_position_embeddings", 10}}}}, "num_position_embeddings must be a square");
  refused({{"vision_config", {{"deepstack_visual_indexes", {2}}}}}, "deepstack_visual_indexes is [2], expected rising");
  refused({{"vision_config", {{"deepstack_visual_indexes", {1, 0}}}}}, "deepstack_visual_indexes is [1,0]");
  refused({{"vision_config", {{"hidden_act", "relu"}}}}, "vision hidden_act is \"relu\"");
  refused({{"text_config", {{"num_hidden_layers", 1}}}, {"vision_config", {{"deepstack_visual_indexes", {0, 1}}}}},
          "deepstack_visual_indexes must not be longer");
}

// What only the last layer's picture tokens get must reach a vector that is pooled there.
TEST(Qwen3Vl, deepstack_after_the_last_layer) {
  const TemporaryFolder folder("last");
  json config = tiny_qwen3_vl(16);
  config["text_config"]["num_hidden_layers"] = 1;
  write_tiny_model(folder.path());
  std::filesystem::remove(folder / "model.safetensors");
  write_json(folder / "config.json", config);
  write_png(folder / "a.png", plain_image(16, 8, 90));
  const auto encoder = load_encoder(folder.path(), {.load_weights = false});
  initialise(*encoder->backbone, 0.3, 1, DType::f32, Device::cpu);
  const EncoderInput input{"what? <|image_pad|>", {folder / "a.png"}};
  const Tensor plain = embed(*encoder, {&input, 1}, 1);
  std::map<std::string, Tensor> stages;
  for (const Stage& stage : stages_of(*encoder, input).list) stages[stage.name] = stage.value;
  EXPECT_EQ(to_vector<float>(plain), to_vector<float>(stages.at("embedding")));
  EXPECT_GT(distance(stages.at("hidden_deepstack_0"), stages.at("hidden_layer_0")), 1e-3);
  int64_t told = 0;  // every parameter belongs to a stage
  for (const Stage& stage : stages_of(*encoder, input).list) told += stage.note.parameters;
  EXPECT_EQ(told, count_parameters(*encoder->backbone));
  EXPECT_EQ(to_vector<float>(l2_normalize(stages.at("hidden_final"), 1e-12).y.rows(stages.at("hidden_final").rows() - 1,
                                                                           stages.at("hidden_final").rows())),
            to_vector<float>(plain));
}

}  // namespace
}  // namespace vlm2vec
