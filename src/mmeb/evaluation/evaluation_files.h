// The files of an evaluated set, under the names and keys of the official evaluations:
//   {set}_score.json   VLM2Vec V2's metrics (metrics.h), num_pred, num_data; V1's acc and num_correct; num_ties,
//                      num_skipped, num_skipped_candidates, num_cut; "summary", as in summary.json; "evaluation", its
//                      model, options and data (evaluation_identity.h); "files", the sizes of the other files
//   {set}_pred.jsonl   V2: {"prediction": names of the candidates, best first, "label": [right name],
//                      "rel_scores": null}
//   {set}_pred.txt     V1: the winning (text, picture) of each row, as Python prints a tuple
//   {set}_info.jsonl   V2: {"cand_names", "label_name"}
//   {set}_qry.npy, {set}_tgt.npy   f32 [n, d] of the distinct queries and targets (the official files are pickles)
//   {set}_qry_ids.jsonl, {set}_tgt_ids.jsonl   the input of row i of these: {"text", "img_path"}
//   {set}_skipped_rows.jsonl   inputs that --bad_rows skip left out (mmeb/data/left_out.h), if any
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "mmeb/evaluation/evaluation_folder.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/ranking.h"

namespace vlm2vec {

// embeddings: [set.sides, d]; results: V1's, per row. V2's ranking is computed here, by dot product among names; each
// name stands for the first side with this name in the set. Writes all files except the scores, which it returns: the
// caller writes them last, as the mark of a complete set.
nlohmann::ordered_json write_set_files(const std::filesystem::path& folder, const EvaluationSet& set,
                                       const Tensor& embeddings, const std::vector<RowResult>& results,
                                       bool with_embeddings);

// Writes `FILE.npy` with the embeddings of some of these sides, and `FILE_ids.jsonl`.
void write_embeddings(const std::filesystem::path& stem, const Tensor& embeddings, const std::vector<Side>& sides,
                      const std::vector<int32_t>& wanted);

// Writes one line per row. Calls `line` once per row, from several threads.
void write_lines(const std::filesystem::path& file, size_t rows, const std::function<std::string(size_t row)>& line);

// Returns the group of these files; the scores are its mark.
FileGroup set_files(const std::string& set);

std::string python_literal(const std::string& text);  // repr() of a Python string

}  // namespace vlm2vec
