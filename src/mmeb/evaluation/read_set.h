// Reads a set for evaluation, leaves out unusable inputs, hashes its content and summarises its results.
#pragma once
#include "mmeb/data/left_out.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/summary.h"

namespace vlm2vec {

// Reads a set, with its queries under other instructions. Keeps a row among `faults` if `fault` returns for it.
EvaluationSet read_set(const SetSource& source, const Pictures& pictures, const PromptStyle* style,
                       const PromptVariants& prompt_variants, const RowFault& fault = {});

// Returns the SHA-256, in hexadecimal digits, of all data that affects the score: texts, names, lists, and each picture
// file's size and time of modification. A copy with a new time counts as another picture.
std::string content_digest(const EvaluationSet& set, const SetSource& source, const std::vector<EncoderInput>& inputs);

// The inputs left out by leave_out(). `faults` says for each side why it cannot be read, or is empty. A row goes if it
// is in set.faults, or if its query (in any wording) or right candidate has a fault. If `own` (rows rank only their own
// candidates), a row without wrong candidates goes, too. Other rows lose only candidates with a fault.
struct Unusable {
  std::vector<LeftOut> sides;
  int64_t rows = 0, candidates = 0;  // candidates: each counts once
};
Unusable leave_out(EvaluationSet& set, const std::vector<std::string>& faults, bool own);

SetScore score_of(const EvaluationSet& set, const SetSource& source, const std::vector<RowResult>& results,
                  const Tensor& embeddings);

// Says in how many rows another candidate has the right one's name; empty if in none.
std::string repetition_note(const EvaluationSet& set);

}  // namespace vlm2vec
