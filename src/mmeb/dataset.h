// MMEB's rows as JSON lines or in Parquet files (row_files.h), in the folders of MMEB-train and MMEB-eval:
//   training  <dataset>/<Set>/original.jsonl  {"qry", "qry_image_path", "pos_text", "pos_image_path"}
//   test      <dataset>/<Set>/test.jsonl      {"qry_text", "qry_img_path", "tgt_text": […], "tgt_img_path": […]},
//                                             the positive first; MMEB_Test_Instruct's form too (eval_rows.cpp)
// Picture paths are relative to the image folder; "" means no picture. In a text the token <|image_1|> stands for it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/pictures.h"
#include "vlm/encoder.h"

namespace vlm2vec {

// One side of a pair as stored: its text and the path of its picture.
struct Side {
  std::string text, image;
  auto operator<=>(const Side&) const = default;
};

struct TrainRow {
  Side query, positive;
};
struct EvalRow {
  Side query;
  std::vector<Side> candidates;    // [0] is the positive
  std::vector<std::string> names;  // of the candidates, as VLM2Vec V2 tells them apart
};

struct TrainSet {
  std::string name;
  std::vector<TrainRow> rows;
};

// Errors (Exit::data) name file and row. `limit` > 0 keeps the first rows only, as the official code does. The name of
// a test file's folder is the set's.
std::vector<TrainRow> read_train_rows(const std::filesystem::path& file, int64_t limit = 0);
std::vector<EvalRow> read_eval_rows(const std::filesystem::path& file);

// The subsets of a folder in alphabetical order, or those named: the folders with rows for `file` (row_files.h).
std::vector<TrainSet> read_train_folder(const std::filesystem::path& folder, const std::vector<std::string>& subsets,
                                        int64_t limit);
std::vector<std::string> list_subsets(const std::filesystem::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted);

// What the encoder sees of a side: the backbone's image token in the place of <|image_1|>, where the picture lies.
EncoderInput encoder_input(const Side& side, const std::string& image_token, const Pictures& image_dir,
                           uint64_t key = 0);

// Whose score counts where.
struct Task {
  std::string name, meta_task, split;  // "classification" | "vqa" | "retrieval" | "grounding"; "IND" | "OOD"
  bool optional = false;               // shown, but in no mean
};
// From tasks.json in the folder or the one above: {"datasets": [{"name", "meta_task", "split", "optional"}, …]};
// without one, the 36 sets of MMEB.
std::vector<Task> read_tasks(const std::filesystem::path& folder);

}  // namespace vlm2vec
