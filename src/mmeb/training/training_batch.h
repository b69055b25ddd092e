// What a step embeds: the queries of its rows, a positive for each, and hard negatives, which every query of the batch
// has for wrong answers.
#pragma once
#include <functional>
#include <span>

#include "mmeb/data/left_out.h"
#include "mmeb/training/training_rows.h"
#include "tensor/ops.h"

namespace vlm2vec {

struct BatchOptions {
  int64_t num_hardneg = 0;       // of a row's own negatives, at most
  bool mask_duplicates = false;  // equal targets are not each other's wrong answers (of a row's several positives only
                                 // the one that is drawn counts as its own)
  uint64_t seed = 0;             // of the step: which positive and which negatives, where a row has several
  size_t first = 0;              // pairs of the step before this batch, for dropout and draws of their own
  // Of each input why it cannot be used (empty: it can), as Encoder::faults. Pairs and negatives with a fault are left
  // out; none given: nothing is looked at.
  std::function<std::vector<std::string>(std::span<const EncoderInput> inputs)> faults = {};
};

struct TrainingBatch {
  std::vector<EncoderInput> queries, targets;  // target i is query i's; negatives follow
  std::vector<LeftOut> left_out;
  std::vector<int32_t> groups;  // of each target: the first one that equals it in text and picture
  Matching matching;
  int64_t tokens_without_picture = 0;  // sides with an image token and no picture: it counts as a word (WebQA, EDIS)
  double duplicates = 0;  // share of queries whose target is there again: false negatives, unless they are masked

  // The share of queries whose best target (its number) equals their own.
  double accuracy(const std::vector<int32_t>& best) const;
};

TrainingBatch make_batch(const TrainingRows& rows, const std::vector<RowId>& ids, const std::string& image_token,
                         const BatchOptions& options, Device device);

}  // namespace vlm2vec
