// A folder of training or test sets as the `data` commands see it: every row has a query, positives and negatives. A
// test row's first candidate is the positive; its other candidates are negatives.
#pragma once

#include "io/text.h"
#include "mmeb/data/dataset.h"

namespace vlm2vec {

struct DataSet {
  std::string name;
  bool test = false;
  std::filesystem::path file;  // <split>.jsonl or test.jsonl, perhaps replaced by Parquet files (row_files.h)
};

// The input of a `data` command: the sets of a folder, all or those of --subset_name, with their pictures.
struct DataFolder {
  std::filesystem::path folder;
  std::vector<DataSet> sets;  // by name; training sets first
  Pictures pictures;
  std::string note;  // a line about other splits in the folder; may be empty
};
// Options shared by the commands; `dataset_split` names the rows of training sets; "test" leaves out training sets.
struct DataFolderOptions {
  std::vector<std::string> folders, subset_name;
  std::string image_dir, dataset_split = "original";
};
// Throws Exit::data if there are no such sets, Exit::usage for an unknown name.
DataFolder open_data_folder(const std::filesystem::path& folder, const DataFolderOptions& options = {});
std::vector<DataFolder> open_data_folders(const DataFolderOptions& options);

// If `fault` returns for a row, the row has no positives.
std::vector<TrainRow> read_data_rows(const DataSet& set, const Pictures& pictures, int64_t limit = 0,
                                     const RowFault& fault = {});

// Formats a table: the first column is left-aligned, the others right-aligned; the first row is the heading.
std::string text_table(const std::vector<std::vector<std::string>>& rows);
std::string percent(double share);  // 0.5 → "50.0 %"
}  // namespace vlm2vec
