// `vlm2vec data mini`: builds the miniature MMEB in seconds from the pictures and words of Debian packages.
//
// The folder has the layout of the hub's MMEB-train and MMEB-eval, with JSON lines in place of Parquet:
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
//   "grounding", split is "IND" or "OOD". An optional set is reported, but does not count in OOD and Overall.
// - manifest.json has the options, the sources with SHA-256, the sets left out with the reason, and each set's numbers
//   of rows and pictures. Each set has two SHA-256: of its JSON lines, and of the digests of its pictures. A picture's
//   digest covers width and height, one byte each, and the RGB bytes.
// - Picture paths are relative to MMEB-train and MMEB-eval and begin with "images/"; "" means no picture. Equal
//   pictures of a set are one file.
//
// Every set has two random streams (Philox): the seed sets the training rows, a constant the test rows, so no option
// changes test rows. The first n rows do not depend on the number of rows. A training row is drawn again if its query
// and its positive both equal a test row's, in text and pixels.
#pragma once
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "mini/tasks.h"
#include "mini/world.h"

namespace vlm2vec::mini {

struct MiniOptions {
  // Must be absent, empty, or an earlier miniature MMEB, which is replaced unless it matches these options.
  std::filesystem::path output_dir;
  uint64_t seed = 1;      // changes the training rows and their pixels, never the things or the test sets
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
  std::string sha256;  // hash of manifest.json: equal for equal options and sources
  bool kept = false;   // the folder already existed, complete, with the same options and sources
  double seconds = 0;
};

// Throws Exit::usage for impossible options or an output folder with other content; Exit::data for a missing or damaged
// source; Exit::resources if the folder cannot be written. After an error nothing is left behind.
MiniSummary build_mini(const MiniOptions& options);

std::string describe(const MiniSummary& summary);  // a table for the user

// Draws the rows of one set without the (query, positive) pairs in `taken`.
std::vector<Row> draw_rows(const Task& task, Album& album, int count, const std::set<Digest>& taken);
Digest pair_digest(const Album& album, const Row& row);  // equal for equal texts and pixels of query and positive

}  // namespace vlm2vec::mini
