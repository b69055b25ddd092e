// Checkpoints as they come: types, shards, names before and after transformers 4.52, configurations of other families.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden_pictures.h"
#include "io/files.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/ops.h"
#include "tokenizer_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

float value_of(uint16_t half) {  // by the definition of IEEE 754 binary16
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float sign = half >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024.0f + float(fraction), exponent - 25) : std::ldexp(float(fraction), -24));
}

// The f16 number next to x, for small |x|.
uint16_t to_half(float x) {
  uint16_t low = 0, high = 0x7C00;
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (value_of(middle) <= std::abs(x) ? low : high) = middle;
  }
  return uint16_t(low | (std::signbit(x) ? 0x8000 : 0));
}

Tensor half_tensor(const Tensor& x) {
  Tensor y(x.shape(), DType::f16, Device::cpu);
  const auto values = to_vector<float>(x);
  for (size_t i = 0; i < values.size(); ++i) y.data<f16>()[i].bits = to_half(values[i]);
  return y;
}

TEST(F16, EveryNumberIsReadOnEveryInstructionSet) {
  std::vector<uint16_t> all(65536);
  for (int i = 0; i < 65536; ++i) all[size_t(i)] = uint16_t(i);
  std::vector<float> wide(65536 + 5, 7);
  const auto check = [&](size_t from, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      const float want = value_of(all[from + i]);
      ASSERT_EQ(std::isnan(want), std::isnan(wide[i])) << all[from + i];
      if (!std::isnan(want)) {
        ASSERT_EQ(std::bit_cast<uint32_t>(want), std::bit_cast<uint32_t>(wide[i])) << all[from + i];
      }
      const float one = f16{all[from + i]};
      ASSERT_EQ(std::bit_cast<uint32_t>(one), std::bit_cast<uint32_t>(wide[i])) << all[from + i];
    }
    ASSERT_EQ(wide[n], 7);
  };
  for (const Simd* simd : available_isas()) {
    SCOPED_TRACE(simd->name);
    simd->widen_f16(65536, all.data(), wide.data());
    check(0, 65536);
    for (size_t n : {1, 3, 7, 13, 31}) {
      std::fill(wide.begin(), wide.end(), 7.0f);
      simd->widen_f16(int64_t(n), all.data() + 1000, wide.data());
      check(1000, n);
    }
  }
}

TEST(F16, ProductsAndLookUpsAreThoseOfTheSameNumbersInF32) {
  const Tensor a = normal_tensor({5, 40}, 1, 1, DType::f32, Device::cpu);
  const Tensor half = half_tensor(normal_tensor({37, 40}, 0.1, 2, DType::f32, Device::cpu)), wide = half.to(DType::f32);
  EXPECT_EQ(to_vector<float>(half), to_vector<float>(wide));
  const Tensor ids = from_vector(std::vector<int32_t>{36, 0, 7}, {3});
  for (Device device : {Device::cpu, Device::emu}) {
    const auto on = [&](const Tensor& x) { return x.to(device); };
    EXPECT_EQ(to_vector<float>(on(half).to(DType::f32)), to_vector<float>(wide));
    EXPECT_EQ(to_vector<float>(gather_rows(on(half), on(ids), DType::f32)), to_vector<float>(gather_rows(on(wide), on(ids))));
    EXPECT_EQ(to_vector<float>(matmul(on(a), on(half), false, true)),
              to_vector<float>(matmul(on(a), on(wide), false, true)));
    EXPECT_EQ(to_vector<float>(matmul(on(wide).rows(0, 5), on(half).rows(0, 40 - 3).view({40, 37}))),
              to_vector<float>(matmul(on(wide).rows(0, 5), on(wide).rows(0, 40 - 3).view({40, 37}))));
  }
}

class StoredModel : public testing::Test {
 protected:
  // The model `mini` (two bf16 shards, names since transformers 4.52, a head of its own) with other weights.
  fs::path rewritten(const std::string& name, const NamedTensors& weights) {
    const fs::path folder = folder_ / name;
    fs::create_directories(folder);
    for (const char* file : {"config.json", "preprocessor_config.json", "tokenizer.json"})
      fs::copy_file(golden("qwen2_vl/mini") / file, folder / file, fs::copy_options::overwrite_existing);
    save_safetensors(folder / "model.safetensors", weights);
    return folder;
  }
  static std::vector<float> embeddings(const fs::path& folder) {
    const auto encoder = load_encoder(folder);
    EncoderInput text{"Represent the given sentence.", {}}, image{"<|image_pad|> Represent the given image.", {}};
    image.images = {golden_picture("mini")};
    return to_vector<float>(embed(*encoder, std::vector{text, image}, 2));
  }
  // Its weights by their old names, converted.
  static NamedTensors converted(const std::function<Tensor(const Tensor&)>& convert) {
    NamedTensors weights;
    for (const auto& [name, t] : load_checkpoint(golden("qwen2_vl/mini"))) weights[canonical_name(name, qwen_names())] = convert(t);
    return weights;
  }
  const TemporaryFolder folder_{"checkpoint"};
};

TEST_F(StoredModel, TypesShardsAndNamesGiveTheSameBits) {
  NEEDS_GOLDEN("qwen2_vl")
  const auto shards = embeddings(golden("qwen2_vl/mini"));
  const NamedTensors wide = converted([](const Tensor& t) { return t.to(DType::f32); });
  EXPECT_TRUE(wide.contains("lm_head.weight"));
  EXPECT_TRUE(wide.contains("visual.patch_embed.proj.weight"));
  EXPECT_EQ(embeddings(rewritten("f32", wide)), shards);
  NamedTensors tied = wide;  // as in the 2B: no head in the file
  tied.erase("lm_head.weight");
  EXPECT_EQ(embeddings(rewritten("tied", tied)), shards);
  EXPECT_EQ(embeddings(rewritten("bf16", converted([](const Tensor& t) { return t; }))), shards);
  // f16 cannot hold every bf16 number: compared with its own numbers in f32.
  const NamedTensors half = converted(half_tensor);
  const auto of_half = embeddings(rewritten("f16", half));
  EXPECT_EQ(of_half, embeddings(rewritten("f16_wide",
                                          converted([](const Tensor& t) { return half_tensor(t).to(DType::f32); }))));
  EXPECT_NE(of_half, shards);
}

TEST_F(StoredModel, FrozenMatricesStayWhereTheFileHasThem) {
  const auto encoder = load_encoder(rewritten("f16", converted(half_tensor)));
  encoder->backbone->each_parameter([](Parameter& p) {
    EXPECT_EQ(int(p.value().dtype()), int(p.is_matrix() ? DType::f16 : DType::f32)) << p.path();
  });
  ASSERT_EQ(encoder->notes.size(), 1u);
  EXPECT_NE(encoder->notes[0].find("lm_head.weight is not used"), std::string::npos);
}

TEST_F(StoredModel, BothSpellingsOfTheSameTensorAreRefused) {
  NamedTensors weights = converted([](const Tensor& t) { return t; });
  weights["model.language_model.norm.weight"] = weights.at("model.norm.weight");
  expect_error(Exit::data, "model.norm.weight is stored twice", [&] { load_encoder(rewritten("twice", weights)); });
}

TEST_F(StoredModel, LoadsWithVocabularyAndMergesInsteadOfTokenizerJson) {
  const auto with = embeddings(golden("qwen2_vl/mini"));
  const fs::path folder = rewritten("split", converted([](const Tensor& t) { return t; }));
  split_tokenizer(folder / "tokenizer.json", folder);
  fs::remove(folder / "tokenizer.json");
  EXPECT_EQ(embeddings(folder), with);
}

TEST_F(StoredModel, ConfigurationsThatAreNotUnderstoodAreRefusedByName) {
  const json good = read_json(golden("qwen2_vl/tiny/config.json"));
  const auto load = [&](const json& config) {
    write_text(folder_ / "config.json", config.dump());
    return qwen_config(folder_ / "config.json");
  };
  const auto refused = [&](const json& patch, const std::string& sentence) {
    json config = good;
    config.merge_patch(patch);
    expect_error(Exit::data, (folder_ / "config.json").string() + ": " + sentence, [&] { load(config); });
  };
  EXPECT_EQ(load(good).text.hidden_size, 256);
  refused({{"model_type", "llava_onevision"}},
          "model_type is \"llava_onevision\": this is LLaVA-OneVision; this program runs Qwen2-VL (qwen2_vl), Qwen2.5-VL");
  refused({{"model_type", "llava"}}, "model_type is \"llava\": this is LLaVA-1.5");
  refused({{"model_type", "brand_new"}}, "model_type is \"brand_new\"; this program runs Qwen2-VL");
  refused({{"model_type", nullptr}}, "has no model_type");
  expect_error(Exit::data, "has no model_type", [&] { load(json::array()); });
  refused({{"num_hidden_layers", 2e6}}, "num_hidden_layers is 2000000.0, expected a whole number from 1 to 1000");
  refused({{"vocab_size", -5}}, "vocab_size is -5");
  refused({{"rms_norm_eps", 0}}, "rms_norm_eps is 0, expected a positive number");
  refused({{"hidden_act", "gelu"}}, "hidden_act is \"gelu\"");
  refused({{"use_sliding_window", true}}, "use_sliding_window is true");
  refused({{"layer_types", {"full_attention", "sliding_attention"}}}, "layer_types has \"sliding_attention\"");
  refused({{"rope_scaling", {{"type", "yarn"}}}}, "the rotary embedding is of type \"yarn\"");
  refused({{"rope_scaling", {{"mrope_section", {16, 24}}}}}, "mrope_section must be three numbers");
  refused({{"num_key_value_heads", 3}}, "num_attention_heads must be a multiple");
  refused({{"vision_config", {{"hidden_size", 128}}}}, "the width that vision_config gives the merger");
  refused({{"vision_config", {{"depth", 100000}}}}, "depth is 100000");
  refused({{"vision_config", {{"hidden_act", "gelu"}}}}, "vision hidden_act is \"gelu\"");
  refused({{"image_token_id", 1 << 20}}, "image_token_id must lie in the vocabulary");
}

// Newer files nest the text model's fields, and spell some of them anew.
TEST_F(StoredModel, NestedConfigurationsAreReadAsFlatOnes) {
  json nested = read_json(golden("qwen2_vl/tiny/config.json")), text;
  const QwenVlConfig flat = qwen_config(golden("qwen2_vl/tiny/config.json"));
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "rms_norm_eps", "hidden_act"}) {
    text[key] = nested.at(key);
    nested.erase(key);
  }
  text["rope_parameters"] = nested.at("rope_scaling");
  text["rope_parameters"]["rope_theta"] = nested.at("rope_theta");
  text["rope_scaling"] = nullptr;
  nested.erase("rope_scaling"), nested.erase("rope_theta");
  nested["text_config"] = text;
  write_json(folder_ / "config.json", nested);
  const QwenVlConfig read = qwen_config(folder_ / "config.json");
  EXPECT_EQ(read.text.hidden_size, flat.text.hidden_size);
  EXPECT_EQ(read.text.vocab_size, flat.text.vocab_size);
  EXPECT_EQ(read.text.rope_theta, flat.text.rope_theta);
  EXPECT_EQ(read.mrope_section, flat.mrope_section);
  EXPECT_EQ(read.image_token_id, flat.image_token_id);
}

TEST_F(StoredModel, AConfigurationThatDoesNotFitTheTokenizerIsRefused) {
  const fs::path folder = rewritten("foreign", converted([](const Tensor& t) { return t; }));
  json config = read_json(folder / "config.json");
  config["image_token_id"] = 20;
  write_json(folder / "config.json", config);
  expect_error(Exit::data, "config.json: the image token is 20, but the tokenizer of ",
               [&] { load_encoder(folder); });
}

TEST(ExampleConfiguration, Qwen2Vl2bHasThePublishedSize) {
  const TemporaryFolder folder("example");
  fs::copy_file(SOURCE_DIR "/examples/qwen2-vl-2b.json", folder / "config.json");
  fs::copy_file(golden("tokenizers/qwen2/tokenizer.json"), folder / "tokenizer.json");
  write_picture_rule(SmartResize(), folder.path());
  int64_t parameters = 0;
  load_encoder(folder.path(), {.load_weights = false})->backbone->each_parameter([&](Parameter& p) {
    parameters += numel(p.shape());
  });
  EXPECT_EQ(parameters, 2'208'985'600);
}

}  // namespace
}  // namespace vlm2vec
