// MMEB's rows as JSON lines or in Parquet files (row_files.h), in the folders of MMEB-train and MMEB-eval:
//   training  <dataset>/<Set>/original.jsonl  {"qry", "qry_image_path", "pos_text", "pos_image_path"}, perhaps with
//                                             "neg_text" and "neg_image_path"; a pair of columns may hold lists
//   test      <dataset>/<Set>/test.jsonl      {"qry_text", "qry_img_path", "tgt_text": […], "tgt_img_path": […]},
//                                             the positive first; MMEB_Test_Instruct's form too (eval_rows.cpp)
// Picture paths are relative to the image folder; "" and null mean no picture. In a text the token <|image_1|> stands
// for it. A side with several pictures has a list of them, for <|image_1|>, <|image_2|>, …; row_pictures.h has the
// forms.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "io/json_lines.h"
#include "mmeb/data/pictures.h"
#include "mmeb/data/train_rows.h"
#include "vlm/encoder.h"

namespace vlm2vec {

struct EvalRow {
  Side query;
  std::vector<Side> candidates;    // [0] is the positive
  std::vector<std::string> names;  // of the candidates, as VLM2Vec V2 tells them apart
};

// Where a set's rows are, and what is made of them.
struct TrainSource {
  std::string name;
  std::filesystem::path file;       // of rows (row_files.h)
  std::filesystem::path image_dir;  // joined before their picture paths
  int64_t limit = 0;                // > 0: the first rows only, as the official code does
  double weight = 1;                // of the set among the others, for interleaved sampling
};
struct TrainSet {
  TrainSource source;
  TrainRows rows;
  Pictures pictures;              // in source.image_dir
  bool unused_negatives = false;  // there are columns of negatives, and they were not wanted
};

struct EvalSource {
  std::string name;
  std::filesystem::path file;       // of rows (row_files.h)
  std::filesystem::path image_dir;  // joined before their picture paths
  bool global = false;              // ranked among the candidates of all rows instead of the row's own
  int64_t limit = 0;                // > 0: the first rows only
};

// Errors (Exit::data) name file and row. Negatives are left out unless they are wanted; null, "" with "" and an absent
// column say that there is none. The name of a test file's folder is the set's. Pictures that the rows hold themselves
// go to `pictures`. A training row whose `fault` returns keeps its number (TrainRows::fault).
TrainRows read_train_rows(const std::filesystem::path& file, int64_t limit = 0, bool negatives = false,
                          const Pictures& pictures = {}, const RowFault& fault = {});
// The sets in this order, several at a time.
std::vector<TrainSet> read_train_sets(const std::vector<TrainSource>& sources, bool negatives = false,
                                      const RowFault& fault = {});
// The sets of a folder such as MMEB-train, all or those named, with the rows of a split. Of those named all must have
// rows, unless they `may_be_missing`: then leave_out_missing() is to follow.
std::vector<TrainSource> train_folder(const std::filesystem::path& folder, const std::vector<std::string>& subsets = {},
                                      const std::string& split = "original", bool may_be_missing = false);
std::vector<EvalRow> read_eval_rows(const std::filesystem::path& file, int64_t limit = 0,
                                    const Pictures& pictures = {});
void read_eval_rows(const std::filesystem::path& file, const std::function<void(const EvalRow& row)>& row,
                    int64_t limit = 0, const Pictures& pictures = {}, const RowFault& fault = {});
// The sets of a folder such as MMEB-eval, all or those named; their pictures in `image_dir`, or if empty the folder.
std::vector<EvalSource> eval_folder(const std::filesystem::path& folder, const std::vector<std::string>& subsets = {},
                                    const std::filesystem::path& image_dir = {}, bool may_be_missing = false);

// Removes the sources that have no file of rows and gives their names. Exit::data if none is left, or one is missing
// and `skip`, --missing_sets skip, is not wanted.
std::vector<std::string> leave_out_missing(std::vector<TrainSource>& sources, bool skip);
std::vector<std::string> leave_out_missing(std::vector<EvalSource>& sources, bool skip);
// "train: 2 sets have no rows and are left out: A, B"; empty without sets.
std::string missing_sets_note(const std::string& command, const std::vector<std::string>& sets);

// The subsets of a folder in alphabetical order, or those named: the folders with rows for `file` (row_files.h).
std::vector<std::string> list_subsets(const std::filesystem::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted, bool may_be_missing = false);
// What may be meant where `folder` has no set with rows of these splits: other rows, or the folder above; perhaps
// empty.
std::string other_rows_hint(const std::filesystem::path& folder, const std::set<std::string>& splits);
// Exit::usage with the nearest name if `name` is none of the subsets `known` that the folder has with rows for `file`.
void check_subset_name(const std::string& name, const std::vector<std::string>& known,
                       const std::filesystem::path& folder, const std::string& file);

// Why no model with this image token can read a side, its pictures apart; empty: it can. What prepare() refuses, too.
std::string text_fault(const Side& side, const std::string& image_token);
// What the encoder sees of a side: the backbone's image tokens in the places of <|image_N|>, where the pictures lie.
EncoderInput encoder_input(const Side& side, const std::string& image_token, const Pictures& image_dir,
                           uint64_t key = 0);

}  // namespace vlm2vec
