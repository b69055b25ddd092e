// A set as it is evaluated: what is read, what of it cannot be used, what it is by content, and what it scores.
#pragma once
#include <map>

#include "mmeb/data/left_out.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/summary.h"

namespace vlm2vec {

struct Variant {
  std::string instruction;
  std::vector<int32_t> queries;  // of each row: the side with this instruction
};

// A set that has been read, with its queries under other instructions.
struct ReadSet {
  EvaluationSet rows;
  bool cut = false;         // the file has more rows than its limit
  std::string instruction;  // what its stored queries begin with, behind the picture's token; only with variants
  std::vector<Variant> variants;
  std::map<size_t, std::string> faults;  // of rows that cannot be read; they have an empty query and no candidates
};
// A row whose `fault` returns is kept as one of `faults`.
ReadSet read_set(const EvalSource& source, const Pictures& pictures, const PromptVariants& prompt_variants,
                 const RowFault& fault = {});

// SHA-256, as hexadecimal digits, of all that the data gives to the score: texts, names, lists, and size and time of
// modification of each picture's file. A copy that sets a new time counts as another picture.
std::string content_digest(const ReadSet& set, const EvalSource& source, const std::vector<EncoderInput>& inputs);

// Without what cannot be read (faults: of each side why, or empty): rows of set.faults, rows whose query, in any
// wording, or right candidate has a fault, or which keep no wrong candidate (`own`: each row is ranked among its own
// candidates only); of other rows the candidates with a fault.
struct Unusable {
  std::vector<LeftOut> sides;
  int64_t rows = 0, candidates = 0;  // candidates: different ones
};
Unusable leave_out(ReadSet& set, const std::vector<std::string>& faults, bool own);

SetScore score_of(const ReadSet& set, const EvalSource& source, const std::vector<RowResult>& results,
                  const Tensor& embeddings);

// Where a row's right name is that of a further candidate too; empty: nowhere.
std::string repetition_note(const EvaluationSet& set);

}  // namespace vlm2vec
