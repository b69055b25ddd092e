// MMEB's rows as JSON lines or in Parquet files (row_files.h), in the folders of MMEB-train and MMEB-eval:
//   training  <dataset>/<Set>/original.jsonl  {"qry", "qry_image_path", "pos_text", "pos_image_path"}, perhaps with
//                                             "neg_text" and "neg_image_path"; a pair of columns may hold lists
//   test      <dataset>/<Set>/test.jsonl      {"qry_text", "qry_img_path", "tgt_text": […], "tgt_img_path": […]},
//                                             the positive first; MMEB_Test_Instruct's form too (eval_rows.cpp)
// Picture paths are relative to the image folder; "" and null mean no picture. The token <|image_1|> marks the place of
// the picture in a text. A side with several pictures has a list, for <|image_1|>, <|image_2|>, … (see row_pictures.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "io/json_lines.h"
#include "mmeb/data/packed_rows.h"
#include "mmeb/data/pictures.h"
#include "vlm/encoder.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct EvalRow {
  Side query;
  std::vector<Side> candidates;    // [0] is the positive
  std::vector<std::string> names;  // VLM2Vec V2's keys of the candidates
};

// Where a set's rows are, and how to use them.
struct SetSource {
  std::string name;
  std::filesystem::path file;       // the file of rows (row_files.h)
  std::filesystem::path image_dir;  // joined before their picture paths
  int64_t limit = 0;                // > 0: only the first rows, as in the official code
  double weight = 1;                // training: the set's weight in interleaved sampling
  bool global = false;              // evaluation: ranks the candidates of all rows instead of the row's own
};
struct TrainSet {
  SetSource source;
  PackedRows rows;
  Pictures pictures;              // in source.image_dir
  bool unused_negatives = false;  // columns of negatives exist but were not read
};

// Throws Exit::data with file and row. Reads negatives only on request; null, "" with "" or no column means none. The
// folder of a test file has the set's name. Pictures embedded in the rows go to `pictures`. If `fault` returns for a
// training row, the row keeps its number (PackedRows::fault).
PackedRows read_train_rows(const std::filesystem::path& file, int64_t limit = 0, bool negatives = false,
                           const Pictures& pictures = {}, const RowFault& fault = {});
// Reads the sets in this order, several at a time.
std::vector<TrainSet> read_train_sets(const std::vector<SetSource>& sources, bool negatives = false,
                                      const RowFault& fault = {});
// Returns the sets of a folder such as MMEB-train, all or those named, with the rows of a split. All named sets must
// have rows; with `may_be_missing`, leave_out_missing() must follow instead.
std::vector<SetSource> train_folder(const std::filesystem::path& folder, const std::vector<std::string>& subsets = {},
                                    const std::string& split = "original", bool may_be_missing = false);
std::vector<EvalRow> read_eval_rows(const std::filesystem::path& file, int64_t limit = 0,
                                    const Pictures& pictures = {});
void read_eval_rows(const std::filesystem::path& file, const std::function<void(const EvalRow& row)>& row,
                    int64_t limit = 0, const Pictures& pictures = {}, const RowFault& fault = {});
// Returns the sets of a folder such as MMEB-eval, all or those named. Pictures are in `image_dir`, if empty the folder.
std::vector<SetSource> eval_folder(const std::filesystem::path& folder, const std::vector<std::string>& subsets = {},
                                   const std::filesystem::path& image_dir = {}, bool may_be_missing = false);

// Removes the sources without a file of rows and returns their names. Throws Exit::data if no source is left, or if one
// is missing without `skip` (--missing_sets skip).
std::vector<std::string> leave_out_missing(std::vector<SetSource>& sources, bool skip);
// Returns "train: 2 sets have no rows and are left out: A, B"; empty without sets.
std::string missing_sets_note(const std::string& command, const std::vector<std::string>& sets);

// Returns the subsets of a folder in alphabetical order, or those named: folders with rows for `file` (row_files.h).
std::vector<std::string> list_subsets(const std::filesystem::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted, bool may_be_missing = false);
// Suggests a cure if `folder` has no set with rows of these splits: other rows, or another folder; perhaps empty.
std::string other_rows_hint(const std::filesystem::path& folder, const std::set<std::string>& splits);
// Throws Exit::usage with the nearest name if `name` is not one of `known`, the folder's subsets with rows for `file`.
void check_subset_name(const std::string& name, const std::vector<std::string>& known,
                       const std::filesystem::path& folder, const std::string& file);

// Says why no model with this image token can read a side, whatever its pictures hold; empty if one can. prepare()
// refuses the same sides.
std::string text_fault(const Side& side, const std::string& image_token);
// Converts a side for the encoder: image tokens of the backbone in place of <|image_N|>, and the places of pictures.
EncoderInput encoder_input(const Side& side, const std::string& image_token, const Pictures& image_dir,
                           uint64_t key = 0);
// The same in a style of --prompt: from the side's own words and, where the style has it, the instruction of `form`,
// MMEB's text around the words of its queries or targets; "": all words are the side's own.
EncoderInput encoder_input(const Side& side, bool is_query, const std::string& form, const PromptStyle& style,
                           const std::string& image_token, const Pictures& image_dir, uint64_t key = 0);

}  // namespace vlm2vec
