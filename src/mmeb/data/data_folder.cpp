#include "mmeb/data/data_folder.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "mmeb/data/row_files.h"
#include "tensor/error.h"

namespace vlm2vec {

DataFolder open_data_folder(const std::filesystem::path& folder, const std::string& image_dir,
                            const std::vector<std::string>& subsets) {
  if (!std::filesystem::is_directory(folder)) fail(Exit::data, folder.string(), ": no such folder");
  DataFolder data{folder, {}, image_dir.empty() ? folder : std::filesystem::path(image_dir)};
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    for (const char* file : {"original.jsonl", "test.jsonl"})
      if (entry.is_directory() && !row_files(entry.path() / file).empty())
        data.sets.push_back({entry.path().filename().string(), *file == 't', entry.path() / file});
  if (data.sets.empty())
    fail(Exit::data, folder.string(), ": no sub-folder has original.jsonl or test.jsonl or their Parquet files");
  std::vector<std::string> names;
  for (const DataSet& set : data.sets) names.push_back(set.name);
  for (const std::string& name : subsets) check_subset_name(name, names, folder, "original.jsonl or test.jsonl");
  if (!subsets.empty())
    std::erase_if(data.sets, [&](const DataSet& set) {
      return std::find(subsets.begin(), subsets.end(), set.name) == subsets.end();
    });
  std::sort(data.sets.begin(), data.sets.end(),
            [](const DataSet& a, const DataSet& b) { return std::tie(a.test, a.name) < std::tie(b.test, b.name); });
  return data;
}

std::vector<DataFolder> open_data_folders(const std::vector<std::string>& folders, const std::string& image_dir,
                                          const std::vector<std::string>& subsets) {
  std::vector<DataFolder> data;
  for (const std::string& folder : folders) data.push_back(open_data_folder(folder, image_dir, subsets));
  return data;
}

std::vector<EvalRow> read_data_rows(const DataSet& set, int64_t limit) {
  if (set.test) {
    std::vector<EvalRow> rows = read_eval_rows(set.file);
    if (limit > 0 && int64_t(rows.size()) > limit) rows.resize(size_t(limit));
    return rows;
  }
  std::vector<EvalRow> rows;
  const TrainRows train = read_train_rows(set.file, limit);
  for (size_t i = 0; i < train.size(); ++i) {
    TrainRow row = train[i];
    rows.push_back({std::move(row.query), std::move(row.positives), {}});
  }
  return rows;
}

std::string text_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string blanks(widths[c] - row[c].size(), ' ');
      text += c ? "  " + blanks + row[c] : row[c] + blanks;
    }
    text += '\n';
  }
  return text;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

std::string one_line(const std::string& text, size_t most) {
  std::string line;
  for (const char c : text) {
    if (line.size() >= most && (c & 0xC0) != 0x80) return line + "...";  // not within a character
    line += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
  }
  return line;
}

}  // namespace vlm2vec
