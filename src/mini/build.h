// `vlm2vec data mini`: the miniature MMEB, built in seconds from pictures and words that Debian packages carry.
//
// The folder has the layout of the hub's MMEB-train and MMEB-eval, with JSON lines in the place of Parquet:
//
//   MMEB-train/<Set>/original.jsonl          qry, qry_image_path, pos_text, pos_image_path
//   MMEB-train/images/<Set>/Train/000000.png
//   MMEB-eval/<Set>/test.jsonl               qry_text, qry_img_path, tgt_text [list], tgt_img_path [list]
//   MMEB-eval/images/<Set>/000000.png
//   tasks.json                               {"datasets": [{"name", "meta_task", "split", "optional"}, …]}
//   manifest.json                            options, sources, sets and digests
//
// - In test rows the positive comes first.
// - tasks.json lists the sets in the order of the table; meta_task is "classification", "vqa", "retrieval" or
//   "grounding", split is "IND" or "OOD". An optional set is reported, but OOD and Overall do not count it.
// - manifest.json has the options, the sources with SHA-256, the sets left out with the reason, and per set its rows
//   and pictures with two SHA-256: of the JSON lines, and of the decoded pixels (of the pictures' digests one after
//   another, each of width and height, one byte each, and the RGB bytes).
// - Picture paths are relative to MMEB-train and MMEB-eval and begin with "images/"; "" means no picture. Equal
//   pictures of a set are one file.
//
// Every set has two random streams (Philox) of its own: training rows follow the seed; test rows follow a constant, so
// no option moves them. The first n rows are the same whatever the number of rows. A training row whose query and
// positive both equal those of a test row, in text and pixels, is drawn again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "mini/sources.h"
#include "mini/tasks.h"

namespace vlm2vec::mini {

struct MiniOptions {
  // Absent, empty, or an earlier miniature MMEB, which is replaced unless it is what these options give.
  std::filesystem::path output_dir;
  uint64_t seed = 1;      // of the training rows and their pixels; never of the things, never of the test sets
  int train_rows = 2500;  // per set
  int test_rows = 150;
  Sources sources;
};

struct MiniSummary {
  struct Set {
    Task task;
    int train_rows, test_rows, train_pictures, test_pictures;
  };
  struct Skipped {
    std::string name, reason;
  };
  std::filesystem::path output_dir;
  std::vector<Set> sets;
  std::vector<Skipped> skipped;
  std::string sha256;  // of manifest.json: equal for equal options and sources
  bool kept = false;   // it was there already: the same options and sources, all rows, as many pictures
  double seconds = 0;
};

// Errors: Exit::usage for impossible options or an output folder that holds something else; Exit::data for a missing or
// damaged source; Exit::resources if the folder cannot be written. After an error nothing is left behind.
MiniSummary build_mini(const MiniOptions& options);

std::string describe(const MiniSummary& summary);  // for people: a table

// The rows of one set, none of them a (query, positive) pair of `taken`.
std::vector<Row> draw_rows(const Task& task, Album& album, int count, const std::set<Digest>& taken);
Digest pair_digest(const Album& album, const Row& row);  // equal for equal texts and pixels of query and positive

}  // namespace vlm2vec::mini
