#include "mmeb/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "mmeb/registry.h"
#include "mmeb/row_files.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Row = nlohmann::ordered_json;

}  // namespace

std::vector<TrainRow> read_train_rows(const fs::path& file, int64_t limit) {
  std::vector<TrainRow> rows;
  const auto add = [&](const Row& row) {
    rows.push_back({{text_field(row, "qry"), text_field(row, "qry_image_path")},
                    {text_field(row, "pos_text"), text_field(row, "pos_image_path")}});
  };
  read_rows(file, {"qry", "qry_image_path", "pos_text", "pos_image_path"}, add, limit);
  if (rows.empty()) fail(Exit::data, file.string(), ": has no rows");
  return rows;
}

std::vector<std::string> list_subsets(const fs::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted)
    if (std::count(wanted.begin(), wanted.end(), name) > 1)
      fail(Exit::usage, "--subset_name: ", name, " is named twice");
  if (!fs::is_directory(folder)) fail(Exit::data, folder.string(), ": no such folder");
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!row_files(entry.path() / file).empty()) found.push_back(entry.path().filename().string());
  std::sort(found.begin(), found.end());
  if (found.empty()) fail(Exit::data, folder.string(), ": no subset folder with ", file, " or its Parquet files in it");
  for (const std::string& name : wanted)
    if (!std::binary_search(found.begin(), found.end(), name))
      fail(Exit::data, folder.string(), ": has no subset ", name, " with ", file);
  return wanted.empty() ? found : wanted;
}

std::vector<TrainSet> read_train_folder(const fs::path& folder, const std::vector<std::string>& subsets,
                                        int64_t limit) {
  std::vector<TrainSet> sets;
  for (const std::string& name : list_subsets(folder, "original.jsonl", subsets))
    sets.push_back({name, read_train_rows(folder / name / "original.jsonl", limit)});
  return sets;
}

EncoderInput encoder_input(const Side& side, const std::string& image_token, const Pictures& image_dir, uint64_t key) {
  EncoderInput input{replace_stored_tokens(side.text, image_token), {}, key};
  if (!side.image.empty()) input.images.push_back(image_dir.locate(side.image));
  return input;
}

std::vector<Task> read_tasks(const fs::path& folder) {
  const fs::path normal = fs::absolute(folder).lexically_normal();
  const fs::path clean = normal.has_filename() ? normal : normal.parent_path();
  fs::path file = clean / "tasks.json";
  if (!fs::exists(file)) file = clean.parent_path() / "tasks.json";
  if (!fs::exists(file)) return registered_tasks();
  std::vector<Task> tasks;
  try {
    const json content = read_json(file);
    for (const json& t : content.at("datasets")) {
      Task task{t.at("name"), t.at("meta_task"), t.at("split"), t.value("optional", false)};
      const bool known_meta = task.meta_task == "classification" || task.meta_task == "vqa" ||
                              task.meta_task == "retrieval" || task.meta_task == "grounding";
      if (!known_meta || (task.split != "IND" && task.split != "OOD"))
        fail(Exit::data, file.string(), ": ", task.name, " has meta_task \"", task.meta_task, "\" and split \"",
             task.split, "\"; expected classification, vqa, retrieval or grounding, and IND or OOD");
      tasks.push_back(std::move(task));
    }
  } catch (const json::exception& e) {
    fail(Exit::data, file.string(), ": expected {\"datasets\": [{name, meta_task, split}]} (", e.what(), ")");
  }
  return tasks;
}

}  // namespace vlm2vec
