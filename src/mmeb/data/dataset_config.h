// Reads the YAML files of the official V2 scripts, which map names of data sets to their settings.
//   train  dataset_parser (mmeb or mmeb_neg), dataset_name (a folder), subset_name, dataset_split (default original),
//          image_dir (default: the folder), num_sample_per_subset (default: all rows), weight (default 1)
//   eval   dataset_parser (image_cls, image_qa, image_i2t, image_t2i or image_i2i_vg), dataset_name (a folder),
//          dataset_split (default test), image_root, eval_type (local or global), num_sample_per_subset
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/data/dataset.h"

namespace vlm2vec {

struct DatasetConfig {
  std::vector<SetSource> sources;  // in the file's order
  std::string note;                // for the user, if some keys have no effect here; else empty
};

// Relative folders are relative to `basedir` unless it is empty. Errors (Exit::data) begin with file and line.
DatasetConfig read_train_config(const std::filesystem::path& file, const std::filesystem::path& basedir);
DatasetConfig read_eval_config(const std::filesystem::path& file, const std::filesystem::path& basedir);

}  // namespace vlm2vec
