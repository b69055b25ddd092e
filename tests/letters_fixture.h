// Two small test sets without pictures, and vectors for their texts without a model.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "mmeb/evaluation/evaluator.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace fs = std::filesystem;

// Two sets of letters, the embedding of a text its last letter: "find a" is near "a" only.
struct Letters : testing::Test {
  TemporaryFolder folder{"letters"};
  EvaluationData data;
  void SetUp() override {
    std::string rows;
    for (const char letter : std::string("abcdef")) {
      const std::string own(1, letter), next(1, letter == 'f' ? 'a' : char(letter + 1));
      rows +=
          nlohmann::json{
              {"qry_text", "find " + own}, {"qry_img_path", ""}, {"tgt_text", {own, next}}, {"tgt_img_path", {"", ""}}}
              .dump() +
          "\n";
    }
    for (const char* set : {"Classes", "Texts"}) {
      fs::create_directories(folder / "data" / set);
      write_text(folder / "data" / set / "test.jsonl", rows);
    }
    data.image_token = "<|image_pad|>";
    data.sets = eval_folder(folder / "data");
    data.tasks = {{"Classes", "classification", "IND"}, {"Texts", "retrieval", "OOD"}};
  }
  static Tensor embed(const std::vector<EncoderInput>& inputs, const std::string&) {
    Tensor vectors({int64_t(inputs.size()), 26}, DType::f32, Device::cpu);
    std::fill_n(vectors.data<float>(), vectors.numel(), 0.0f);
    for (size_t i = 0; i < inputs.size(); ++i) {
      char letter = inputs[i].text.back();
      if (inputs[i].text.starts_with("wrong")) letter = letter == 'f' ? 'a' : char(letter + 1);
      vectors.data<float>()[i * 26 + size_t(letter - 'a')] = 1;
    }
    return vectors;
  }
};

}  // namespace vlm2vec
