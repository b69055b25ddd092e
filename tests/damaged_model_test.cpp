// The files of a checkpoint as accidents leave them: each is read or refused in a sentence, within honest memory.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "damage.h"
#include "golden.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "tokenizer_files.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

class DamagedModel : public testing::Test {
 protected:
  // A copy of a golden model whose files may be spoilt.
  void copy_model(const char* model) {
    for (const fs::directory_entry& file : fs::directory_iterator(golden("qwen2_vl") / model))
      fs::copy_file(file, folder_ / file.path().filename());
  }
  void expect_survived(const fs::path& file, uint64_t seed, const std::function<void()>& read) {
    const std::string whole = read_text(folder_ / file);
    const Damage counts = damage(whole, seed, [&](const std::string& bytes) {
      std::ofstream(folder_ / file, std::ios::binary) << bytes;
      read();
    });
    std::printf("%s: %d of 250 damaged copies read, %d refused\n", file.c_str(), counts.read, counts.refused);
    EXPECT_EQ(counts.read + counts.refused, 250);
    EXPECT_GE(counts.refused, 50) << "half of a file should not be read";
    std::ofstream(folder_ / file, std::ios::binary) << whole;
  }
  void expect_text_is_encoded() {
    for (const int32_t id : Tokenizer::load(folder_.path()).encode("Find it's \u56FE\u50CF  <|image_pad|>!\n"))
      ASSERT_GE(id, 0);
  }
  const TemporaryFolder folder_{"damaged"};
};

// Reads every byte of every tensor.
double sum_of(const NamedTensors& tensors) {
  double sum = 0;
  for (const auto& [name, t] : tensors)
    for (int64_t i = 0; i < t.bytes(); ++i) sum += static_cast<const uint8_t*>(t.raw())[i];
  return sum;
}

TEST_F(DamagedModel, Safetensors) {
  NamedTensors tensors;  // small ones, so that the damage is in the header more often than not
  const DType types[] = {DType::f32, DType::bf16, DType::i64, DType::f64};
  for (int i = 0; i < 24; ++i)
    tensors["model.layers." + std::to_string(i) + ".weight"] = zeros({1 + i % 3, 2}, types[i % 4], Device::cpu);
  save_safetensors(folder_ / "model.safetensors", tensors);
  expect_survived("model.safetensors", 1, [&] { sum_of(load_checkpoint(folder_.path())); });
}

TEST_F(DamagedModel, ShardsAndIndex) {
  copy_model("mini");
  expect_survived("model.safetensors.index.json", 2, [&] { sum_of(load_checkpoint(folder_.path())); });
  expect_survived("model-00001-of-00002.safetensors", 3, [&] { load_encoder(folder_.path()); });
}

TEST_F(DamagedModel, Configuration) {
  copy_model("mini");
  expect_survived("config.json", 4, [&] { load_encoder(folder_.path()); });
}

TEST_F(DamagedModel, Processor) {
  copy_model("mini");
  expect_survived("preprocessor_config.json", 5, [&] { load_encoder(folder_.path()); });
}

TEST_F(DamagedModel, TokenizerJson) {
  copy_model("tiny");
  expect_survived("tokenizer.json", 6, [&] { expect_text_is_encoded(); });
}

TEST_F(DamagedModel, VocabularyAndMerges) {
  split_tokenizer(golden("qwen2_vl/tiny/tokenizer.json"), folder_.path());
  expect_survived("vocab.json", 7, [&] { expect_text_is_encoded(); });
  expect_survived("merges.txt", 8, [&] { expect_text_is_encoded(); });
  expect_survived("tokenizer_config.json", 9, [&] { expect_text_is_encoded(); });
}

}  // namespace
}  // namespace vlm2vec
