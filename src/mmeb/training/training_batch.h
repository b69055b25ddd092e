// A batch of a step: the queries of its rows, a positive for each, and hard negatives shared by all queries.
#pragma once
#include <functional>
#include <span>

#include "mmeb/data/left_out.h"
#include "mmeb/training/training_data.h"
#include "tensor/ops.h"

namespace vlm2vec {

struct BatchOptions {
  int64_t num_hardneg = 0;       // most negatives per row
  bool mask_duplicates = false;  // targets equal to a query's own do not count as negatives (if a row has several
                                 // positives, only the drawn one counts as its own)
  uint64_t seed = 0;             // the step's seed for drawing positives and negatives
  size_t first = 0;              // number of the step's earlier pairs: each pair has its own dropout and draws
  const PromptStyle* style = nullptr;  // of --prompt; none: stored texts
  // Returns for each input why it cannot be used, or "" (Processor::faults). Pairs and negatives with a fault are left
  // out. Without this function, no input is checked.
  std::function<std::vector<std::string>(std::span<const EncoderInput> inputs)> faults = {};
};

struct TrainingBatch {
  std::vector<EncoderInput> queries, targets;  // target i belongs to query i; negatives follow
  std::vector<LeftOut> left_out;
  std::vector<int32_t> groups;  // per target: the first target with equal text and picture
  Matching matching;            // on the host
  int64_t tokens_without_picture = 0;  // sides with an image token but no picture; the token is a word (WebQA, EDIS)
  double duplicates = 0;  // share of queries with a copy of their target in the batch, a false negative unless masked

  // Returns the share of queries whose best target (given by number) equals their own.
  double accuracy(const std::vector<int32_t>& best) const;
};

TrainingBatch make_batch(const TrainingData& rows, const std::vector<RowId>& ids, const std::string& image_token,
                         const BatchOptions& options);

}  // namespace vlm2vec
