// `merge`: the merged checkpoint does alone what base and adapter do together, and holds everything else as it was.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "mmeb/data/dataset.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

class MergeGolden : public testing::Test {
 protected:
  void SetUp() override{NEEDS_GOLDEN("qwen2_vl")}

  Exit merge(const fs::path& model, const fs::path& output) const {
    return run_command({"merge", "--model_name", model, "--adapter", adapter(), "--output_dir", output, "--quiet"});
  }
  static fs::path adapter() { return golden("qwen2_vl/training/dora/final"); }
  static fs::path tiny() { return golden("qwen2_vl/tiny"); }
  // A copy of tiny with other weights.
  fs::path model(const std::string& name, const NamedTensors& tensors) const {
    fs::copy(tiny(), folder_ / name);
    fs::permissions(folder_ / name, fs::perms::owner_all);
    fs::remove(folder_ / name / "model.safetensors");
    save_safetensors(folder_ / name / "model.safetensors", tensors);
    return folder_ / name;
  }
  // Of the first four training queries.
  static std::vector<float> embeddings(const fs::path& model, const fs::path& adapter = {}) {
    const auto encoder = load_encoder(model, {.max_pixels = 1003520});
    if (!adapter.empty()) load_adapter(*encoder->backbone, adapter, {}, nullptr, encoder->notes);
    const auto rows = read_train_rows(golden("qwen2_vl/training/train.jsonl"));
    std::vector<EncoderInput> inputs;
    for (size_t i = 0; i < 4; ++i)
      inputs.push_back(encoder_input(rows[i].query, encoder->image_token(), golden("qwen2_vl/training")));
    return to_vector<float>(embed(*encoder, inputs, 4));
  }
  static void expect_near(const std::vector<float>& a, const std::vector<float>& b, double tolerance) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << i;
  }
  const TemporaryFolder folder_{"merge"};
};

TEST_F(MergeGolden, embeds_as_before) {
  const NamedTensors theirs = load_safetensors(golden("qwen2_vl/training/dora/merged.safetensors"));
  expect_near(embeddings(tiny(), adapter()), to_vector<float>(theirs.at("query_embeddings_of_rows_0_to_3_unmerged")),
              5e-6);
  NamedTensors wide;
  for (const auto& [name, tensor] : load_safetensors(tiny() / "model.safetensors"))
    wide.emplace(name, tensor.to(DType::f32));
  ASSERT_EQ(merge(model("wide", wide), folder_ / "merged"), Exit::ok);
  expect_near(embeddings(folder_ / "merged"), to_vector<float>(theirs.at("query_embeddings_of_rows_0_to_3_merged")),
              5e-6);
}

TEST_F(MergeGolden, rounds_once_and_leaves_the_rest_alone) {
  ASSERT_EQ(merge(tiny(), folder_ / "merged"), Exit::ok);
  const auto encoder = load_encoder(tiny());
  const AttachedLora lora = load_adapter(*encoder->backbone, adapter(), {}, nullptr, encoder->notes);
  std::map<std::string, Tensor> changed;
  for (const Lora* l : lora.adapters) changed.emplace(l->base.weight.path(), l->merged().to(DType::bf16));
  const NamedTensors before = load_safetensors(tiny() / "model.safetensors"),
                     after = load_safetensors(folder_ / "merged/model.safetensors");
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : after) {
    EXPECT_EQ(tensor.dtype(), DType::bf16);
    const Tensor want = changed.contains(name) ? changed.at(name) : before.at(name);
    EXPECT_EQ(to_vector<float>(tensor), to_vector<float>(want)) << name;
  }
  for (const auto& entry : fs::directory_iterator(tiny()))
    if (entry.path().extension() != ".safetensors") {
      EXPECT_EQ(read_text(entry.path()), read_text(folder_ / "merged" / entry.path().filename())) << entry.path();
    }
}

TEST_F(MergeGolden, an_f16_base_stays_f16) {
  NamedTensors narrow, wide;
  for (const auto& [name, tensor] : load_safetensors(tiny() / "model.safetensors")) {
    narrow.emplace(name, tensor.to(DType::f32).to(DType::f16));
    wide.emplace(name, narrow.at(name).to(DType::f32));
  }
  ASSERT_EQ(merge(model("narrow", narrow), folder_ / "narrow-merged"), Exit::ok);
  ASSERT_EQ(merge(model("wide", wide), folder_ / "wide-merged"), Exit::ok);
  const NamedTensors exact = load_safetensors(folder_ / "wide-merged/model.safetensors");
  for (const auto& [name, tensor] : load_safetensors(folder_ / "narrow-merged/model.safetensors")) {
    ASSERT_EQ(tensor.dtype(), DType::f16);
    EXPECT_EQ(to_vector<float>(tensor), to_vector<float>(exact.at(name).to(DType::f16))) << name;
  }
}

TEST(F16, rounds_to_the_nearest_number_and_ties_to_even) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {  // up to infinity
    const f16 below{uint16_t(bits)}, above{uint16_t(bits + 1)};
    const float a = below, b = bits == 0x7BFF ? 65536.0f : float(above), middle = (a + b) / 2;
    ASSERT_EQ(f16::nearest(a).bits, below.bits);
    ASSERT_EQ(f16::nearest(-a).bits, below.bits | 0x8000);
    ASSERT_EQ(f16::nearest(middle).bits, bits % 2 ? above.bits : below.bits) << bits;
    ASSERT_EQ(f16::nearest(std::nextafter(middle, 0.0f)).bits, below.bits) << bits;
    ASSERT_EQ(f16::nearest(std::nextafter(middle, b)).bits, above.bits) << bits;
  }
  EXPECT_EQ(f16::nearest(1e30f).bits, 0x7C00);
  EXPECT_TRUE(std::isnan(float(f16::nearest(std::nanf("")))));
}

// Whatever the base's spelling: the names of Qwen2-VL's own files, which every version of transformers reads.
TEST_F(MergeGolden, keeps_shards_and_the_head_under_the_makers_names) {
  std::map<std::string, NamedTensors> shards;
  nlohmann::json map, written;
  for (const auto& [name, tensor] : load_safetensors(tiny() / "model.safetensors")) {
    const std::string file = map.size() % 2 ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
    const std::string renamed =
        name.starts_with("visual.") ? "model." + name : "model.language_model." + name.substr(6);
    shards[file].emplace(renamed, tensor);
    map[renamed] = file, written[name] = file;
  }
  const fs::path base = model("shards", NamedTensors());
  fs::remove(base / "model.safetensors");
  for (const auto& [file, tensors] : shards) save_safetensors(base / file, tensors);
  write_json(base / "model.safetensors.index.json", {{"metadata", {{"total_size", 7}}}, {"weight_map", map}});
  ASSERT_EQ(merge(base, folder_ / "merged"), Exit::ok);
  EXPECT_EQ(read_json(folder_ / "merged/model.safetensors.index.json"),
            (nlohmann::json{{"metadata", {{"total_size", 7}}}, {"weight_map", written}}));
  ASSERT_EQ(merge(tiny(), folder_ / "single"), Exit::ok);
  EXPECT_EQ(embeddings(folder_ / "merged"), embeddings(folder_ / "single"));
  ASSERT_EQ(merge(base, folder_ / "merged"), Exit::ok);  // a checkpoint is replaced
}

TEST_F(MergeGolden, writes_the_makers_names_and_shapes) {
  const NamedTensors plain = load_safetensors(tiny() / "model.safetensors");
  const std::string embedding = "model.embed_tokens.weight", patches = "visual.patch_embed.proj.weight";
  std::map<std::string, NamedTensors> others;
  for (const auto& [name, tensor] : plain) {
    others["auto"].emplace(nested_name(name, qwen_names()).substr(6), tensor);
    others["peft"].emplace("base_model.model." + name, tensor);
    others["head"].emplace(name == embedding ? "lm_head.weight" : name, tensor);
    const int64_t rows = tensor.dim(0);
    others["flat"].emplace(name, name == patches ? tensor.view({rows, tensor.numel() / rows}) : tensor);
  }
  ASSERT_EQ(merge(tiny(), folder_ / "plain-merged"), Exit::ok);
  const std::string want = read_text(folder_ / "plain-merged/model.safetensors");
  for (const auto& [spelling, tensors] : others) {
    ASSERT_EQ(merge(model(spelling, tensors), folder_ / (spelling + "-merged")), Exit::ok);
    EXPECT_TRUE(read_text(folder_ / (spelling + "-merged") / "model.safetensors") == want) << spelling;
  }
}

TEST_F(MergeGolden, refuses_to_destroy) {
  fs::create_directories(folder_ / "work");
  write_text(folder_ / "work/thesis.txt", "years");
  expect_error(Exit::usage, "holds \"thesis.txt\", which does not belong to a checkpoint",
               [&] { merge(tiny(), folder_ / "work"); });
  expect_error(Exit::usage, "is the folder of the model itself", [&] { merge(tiny(), tiny()); });
  expect_error(Exit::data, "no such folder; expected a PEFT adapter", [&] {
    run_command({"merge", "--model_name", tiny(), "--adapter", folder_ / "none", "--output_dir", folder_ / "x"});
  });
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

}  // namespace
}  // namespace vlm2vec
