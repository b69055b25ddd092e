// The files of an evaluated set, under the names and keys of the official evaluations:
//   {set}_score.json   VLM2Vec V2's metrics (metrics.h), num_pred, num_data; V1's acc and num_correct; num_ties,
//                      num_skipped, num_skipped_candidates, num_cut; "summary", as in summary.json; "evaluation", what
//                      it was made of (evaluation_identity.h); "files", the bytes of the others
//   {set}_pred.jsonl   V2: {"prediction": names of the candidates, best first, "label": [right name],
//                      "rel_scores": null}
//   {set}_pred.txt     V1: the winning (text, picture) of each row, as Python prints a tuple
//   {set}_info.jsonl   V2: {"cand_names", "label_name"}
//   {set}_qry.npy, {set}_tgt.npy   f32 [n, d] of the distinct queries and targets (the official files are pickles)
//   {set}_qry_ids.jsonl, {set}_tgt_ids.jsonl   what row i of these is: {"text", "img_path"}
//   {set}_skipped_rows.jsonl   what --bad_rows skip left out (mmeb/data/left_out.h); only if there is such
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "mmeb/evaluation/evaluation_folder.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/ranking.h"

namespace vlm2vec {

// embeddings: [set.sides, d]; results: V1's, of each row. V2's ranking is made here: by dot product, and candidates are
// names, of which each stands for the first side so named in the whole set. All files but the scores, which it returns:
// they come last and say that the set is complete.
nlohmann::ordered_json write_set_files(const std::filesystem::path& folder, const EvaluationSet& set,
                                       const Tensor& embeddings, const std::vector<RowResult>& results,
                                       bool with_embeddings);

// `FILE.npy` with the embeddings of some of these sides, and `FILE_ids.jsonl`.
void write_embeddings(const std::filesystem::path& stem, const Tensor& embeddings, const std::vector<Side>& sides,
                      const std::vector<int32_t>& wanted);

// A line for each row, several made at a time. `line` is called once for each row, from any thread.
void write_lines(const std::filesystem::path& file, size_t rows, const std::function<std::string(size_t row)>& line);

// These files; the scores mark them.
FileGroup set_files(const std::string& set);

std::string python_literal(const std::string& text);  // repr() of a Python string

}  // namespace vlm2vec
