// The files of an evaluated set, under the names and keys of the official evaluations:
//   {set}_score.json   VLM2Vec V2's metrics (metrics.h), num_pred, num_data; V1's acc and num_correct; num_ties
//   {set}_pred.jsonl   V2: {"prediction": names of the candidates, best first, "label": [right name],
//                      "rel_scores": null}
//   {set}_pred.txt     V1: the winning (text, picture) of each row, as Python prints a tuple
//   {set}_info.jsonl   V2: {"cand_names", "label_name"}
//   {set}_qry.npy, {set}_tgt.npy   f32 [n, d] of the distinct queries and targets (the official files are pickles)
//   {set}_qry_ids.jsonl, {set}_tgt_ids.jsonl   what row i of these is: {"text", "img_path"}
#pragma once
#include <filesystem>

#include "mmeb/evaluation/evaluation_inputs.h"
#include "mmeb/evaluation/metrics.h"
#include "mmeb/evaluation/ranking.h"

namespace vlm2vec {

struct EvaluatedSet {
  std::string name;
  std::vector<EvalRow> rows;
  std::vector<Side> sides;  // distinct, of queries and candidates
  Tensor embeddings;        // [sides, d]
  std::vector<int32_t> queries;
  std::vector<std::vector<int32_t>> candidates;  // of each row: indices into sides, as are queries
  std::vector<RowResult> results;                // V1's ranking of each row
  std::vector<RankedNames> predictions;          // V2's
};

// Ranks the rows both ways. V1: by cosine, candidates are (text, picture) pairs. V2: by dot product, candidates are
// names, of which each stands for the first side so named in the whole set.
EvaluatedSet rank_set(std::string name, std::vector<EvalRow> rows, std::vector<Side> sides, Tensor embeddings,
                      std::vector<int32_t> queries, std::vector<std::vector<int32_t>> candidates);

void write_set_files(const std::filesystem::path& folder, const EvaluatedSet& set, bool with_embeddings);

// `FILE.npy` with the embeddings of some of these sides, and `FILE_ids.jsonl`.
void write_embeddings(const std::filesystem::path& stem, const Tensor& embeddings, const std::vector<Side>& sides,
                      const std::vector<int32_t>& wanted);
// Lines {"prediction", "label", "rel_scores": null}.
void write_predictions(const std::filesystem::path& file, const std::vector<RankedNames>& rows);

std::string python_literal(const std::string& text);  // repr() of a Python string

}  // namespace vlm2vec
