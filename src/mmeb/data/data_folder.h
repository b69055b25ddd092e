// A folder of training or test sets as the `data` commands see it: every row is a query, its positives and its
// negatives; of a test row the first candidate is the positive and the others are negatives.
#pragma once
#include <optional>

#include "io/text.h"
#include "mmeb/data/dataset.h"

namespace vlm2vec {

struct DataSet {
  std::string name;
  bool test = false;
  std::filesystem::path file;  // <split>.jsonl or test.jsonl, or where Parquet files lie in its place
};

// What a `data` command looks at: the sets of `folder`, or those named in `subsets`, their pictures in `image_dir`
// (empty: the folder).
struct DataFolder {
  std::filesystem::path folder;
  std::vector<DataSet> sets;  // by name; training sets first
  Pictures pictures;
  std::string note;  // which other splits lie there, in a line; may be empty
};
// What the commands share; `dataset_split` is that of training sets, "test": none of them.
struct DataFolderOptions {
  std::vector<std::string> folders, subset_name;
  std::string image_dir, dataset_split = "original";
};
// Errors: Exit::data without such sets, Exit::usage for a name that is not there.
DataFolder open_data_folder(const std::filesystem::path& folder, const DataFolderOptions& options = {});
std::vector<DataFolder> open_data_folders(const DataFolderOptions& options);

// A row whose `fault` returns has no positives.
std::vector<TrainRow> read_data_rows(const DataSet& set, const Pictures& pictures, int64_t limit = 0,
                                     const RowFault& fault = {});

// The first column to the left, the others to the right, two blanks between; the first row is the heading.
std::string text_table(const std::vector<std::vector<std::string>>& rows);
std::string percent(double share);  // 0.5 → "50.0 %"
}  // namespace vlm2vec
