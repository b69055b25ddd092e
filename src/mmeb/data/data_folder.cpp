#include "mmeb/data/data_folder.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "io/error.h"
#include "io/hub.h"
#include "mmeb/data/row_files.h"

namespace vlm2vec {

DataFolder open_data_folder(const std::filesystem::path& folder, const DataFolderOptions& o) {
  require_folder(folder, "a folder of sets", HubKind::dataset);
  DataFolder data{folder, {}, o.image_dir.empty() ? folder : std::filesystem::path(o.image_dir), {}};
  std::set<std::string> others;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory(unreadable)) continue;
    for (const std::string& split : std::set<std::string>{o.dataset_split, "test"})
      if (const auto file = split_file(entry.path(), split); !row_files(file).empty())
        data.sets.push_back({entry.path().filename().string(), split == "test", file});
    for (const auto& file : std::filesystem::directory_iterator(entry)) others.insert(split_of(file.path()));
  }
  for (const std::string& known : {std::string(), o.dataset_split, std::string("test")}) others.erase(known);
  if (data.sets.empty())
    fail(Exit::data, folder.string(), ": no set folder has ", o.dataset_split,
         ".jsonl or test.jsonl or their Parquet files", other_rows_hint(folder, {o.dataset_split, "test"}));
  if (!others.empty())
    data.note = sentence(folder.string(), ": only ", o.dataset_split == "test" ? "" : o.dataset_split + " and ",
                         "test rows are read; --dataset_split can name ", joined(others));
  std::vector<std::string> known;
  for (const DataSet& set : data.sets) known.push_back(set.name);
  for (const std::string& name : o.subset_name)
    check_subset_name(name, known, folder, o.dataset_split + ".jsonl or test.jsonl");
  if (!o.subset_name.empty())
    std::erase_if(data.sets, [&](const DataSet& set) {
      return std::find(o.subset_name.begin(), o.subset_name.end(), set.name) == o.subset_name.end();
    });
  std::ranges::sort(data.sets, {}, [](const DataSet& set) { return std::tie(set.test, set.name); });
  return data;
}

std::vector<DataFolder> open_data_folders(const DataFolderOptions& options) {
  std::vector<DataFolder> data;
  for (const std::string& folder : options.folders) data.push_back(open_data_folder(folder, options));
  return data;
}

std::vector<TrainRow> read_data_rows(const DataSet& set, const Pictures& pictures, int64_t limit,
                                     const RowFault& fault) {
  std::vector<TrainRow> rows;
  if (!set.test) {
    const PackedRows train = read_train_rows(set.file, limit, true, pictures, fault);
    for (size_t i = 0; i < train.size(); ++i) rows.push_back(train.fault(i).empty() ? train[i] : TrainRow());
    return rows;
  }
  const auto add = [&](const EvalRow& row) {
    const std::vector<Side>& sides = row.candidates;
    rows.push_back({row.query, {sides[0]}, {sides.begin() + 1, sides.end()}});
  };
  const auto keep = [&](const Error& error) { fault(error), rows.emplace_back(); };
  read_eval_rows(set.file, add, limit, pictures, fault ? keep : RowFault());
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

std::string percent(double share) { return formatted("%.1f %%", 100 * share); }

}  // namespace vlm2vec
