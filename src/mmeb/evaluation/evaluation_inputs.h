// What an evaluation embeds: the distinct sides of a set's rows, each once, after a look at all their pictures.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mmeb/data/dataset.h"

namespace vlm2vec {

// Embeds the distinct inputs of a set → [n, d]; what the evaluator needs of a model.
using EmbedFunction = std::function<Tensor(const std::vector<EncoderInput>& inputs, const std::string& set)>;

// Numbers sides as they come; equal sides share a number.
class DistinctInputs {
 public:
  DistinctInputs(std::string set, std::string image_token, Pictures pictures)
      : set_(std::move(set)), image_token_(std::move(image_token)), pictures_(std::move(pictures)) {}
  int32_t number(const Side& side, size_t row);  // row: from 0, for error messages
  const std::vector<EncoderInput>& inputs() const { return inputs_; }
  const std::vector<Side>& sides() const { return sides_; }

 private:
  const std::string set_, image_token_;
  const Pictures pictures_;
  std::map<Side, int32_t> numbers_;
  std::vector<EncoderInput> inputs_;
  std::vector<Side> sides_;
};

// Looks for the pictures of a set's rows.
void check_set(const std::string& name, const std::vector<EvalRow>& rows, PictureCheck& pictures);

}  // namespace vlm2vec
