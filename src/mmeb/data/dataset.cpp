#include "mmeb/data/dataset.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/data/row_files.h"
#include "mmeb/registry/registry.h"
#include "tensor/io/files.h"
#include "tensor/io/hub.h"
#include "tensor/io/json_lines.h"
#include "tensor/nearest.h"
#include "tensor/parallel.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Row = nlohmann::ordered_json;

// The sides in two columns: of two strings one, of two lists (of one length) each.
std::vector<Side> sides(const Row& row, const char* text, const char* image) {
  if (const auto found = row.find(text); found == row.end() || !found->is_array())
    return {{text_field(row, text), text_field(row, image)}};
  const auto texts = text_list_field(row, text), images = text_list_field(row, image);
  if (texts.size() != images.size())
    fail(Exit::data, text, " has ", texts.size(), " items and ", image, " ", images.size(),
         "; expected two lists of one length");
  std::vector<Side> sides;
  for (size_t i = 0; i < texts.size(); ++i) sides.push_back({texts[i], images[i]});
  return sides;
}

// `positive` is of the same row: negatives that are pictures without text, as in VisDial, are read with its text, or
// the token alone if it is no picture.
std::vector<Side> negative_sides(const Row& row, const Side& positive) {
  const auto given = [&](const char* name) { return row.contains(name) && !row[name].is_null(); };
  if (!given("neg_text") && !given("neg_image_path")) return {};
  std::vector<Side> all;
  if (given("neg_text") && given("neg_image_path")) {
    all = sides(row, "neg_text", "neg_image_path");
  } else {  // one column alone: the other is as if it were full of ""
    const bool has_text = given("neg_text");
    const char* name = has_text ? "neg_text" : "neg_image_path";
    const auto values = row[name].is_array() ? text_list_field(row, name) : std::vector{text_field(row, name)};
    for (const std::string& value : values) all.push_back(has_text ? Side{value, ""} : Side{"", value});
  }
  std::erase_if(all, [](const Side& side) { return side.empty(); });
  for (Side& side : all)
    if (side.text.empty()) side.text = positive.image.empty() ? "<|image_1|>" : positive.text;
  return all;
}

}  // namespace

TrainRows read_train_rows(const fs::path& file, int64_t limit, bool negatives) {
  std::vector<std::string> columns = {"qry", "qry_image_path", "pos_text", "pos_image_path"};
  if (negatives) columns.insert(columns.end(), {"neg_text", "neg_image_path"});
  TrainRows rows;
  const auto add = [&](const Row& stored) {
    const Row row = without_null_pictures(stored);
    TrainRow train{
        {text_field(row, "qry"), text_field(row, "qry_image_path")}, sides(row, "pos_text", "pos_image_path"), {}};
    if (train.positives.empty()) fail(Exit::data, "pos_text is an empty list; expected at least one positive");
    if (negatives) train.negatives = negative_sides(stored, train.positives[0]);
    rows.add(train);
  };
  read_rows(file, columns, add, limit);
  if (rows.size() == 0) fail(Exit::data, file.string(), ": has no rows");
  rows.finish();
  return rows;
}

namespace {

// Whether the first row names columns of negatives.
bool has_negatives(const fs::path& file) {
  bool found = false;
  read_rows(
      file, {}, [&](const Row& row) { found = row.contains("neg_text") || row.contains("neg_image_path"); }, 1);
  return found;
}

}  // namespace

std::vector<TrainSet> read_train_sets(const std::vector<TrainSource>& sources, bool negatives) {
  std::map<fs::path, Pictures> pictures;  // sets of one folder share what is found out about its archives
  for (const TrainSource& source : sources) pictures.try_emplace(source.image_dir, source.image_dir);
  std::vector<TrainSet> sets(sources.size());
  parallel_for(int64_t(sources.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i)
      sets[i] = {sources[i], read_train_rows(sources[i].file, sources[i].limit, negatives),
                 pictures.at(sources[i].image_dir), !negatives && has_negatives(sources[i].file)};
  });
  return sets;
}

void check_subset_name(const std::string& name, const std::vector<std::string>& known, const fs::path& folder,
                       const std::string& file) {
  if (std::find(known.begin(), known.end(), name) == known.end())
    fail(Exit::usage, "--subset_name: ", folder.string(), " has no set ", name, " with ", file, "; the nearest is ",
         nearest(name, known));
}

std::vector<std::string> list_subsets(const fs::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted)
    if (std::count(wanted.begin(), wanted.end(), name) > 1)
      fail(Exit::usage, "--subset_name: ", name, " is named twice");
  require_folder(folder, "a folder of sets", HubKind::dataset);
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!row_files(entry.path() / file).empty()) found.push_back(entry.path().filename().string());
  std::sort(found.begin(), found.end());
  if (found.empty()) fail(Exit::data, folder.string(), ": no subset folder with ", file, " or its Parquet files in it");
  for (const std::string& name : wanted) check_subset_name(name, found, folder, file);
  return wanted.empty() ? found : wanted;
}

std::vector<TrainSource> train_folder(const fs::path& folder, const std::vector<std::string>& subsets,
                                      const std::string& split) {
  std::vector<TrainSource> sources;
  for (const std::string& name : list_subsets(folder, split + ".jsonl", subsets))
    sources.push_back({name, split_file(folder / name, split), folder});
  return sources;
}

std::vector<EvalSource> eval_folder(const fs::path& folder, const std::vector<std::string>& subsets,
                                    const fs::path& image_dir) {
  std::vector<EvalSource> sources;
  for (const std::string& name : list_subsets(folder, "test.jsonl", subsets))
    sources.push_back({name, split_file(folder / name, "test"), image_dir.empty() ? folder : image_dir});
  return sources;
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
    fail(Exit::data, file.string(), ": expected {\"datasets\": [{name, meta_task, split}]} (", reason_of(e), ")");
  }
  for (const Task& known : registered_tasks())  // the file adds to MMEB's sets, or says otherwise
    if (std::none_of(tasks.begin(), tasks.end(), [&](const Task& task) { return task.name == known.name; }))
      tasks.push_back(known);
  return tasks;
}

}  // namespace vlm2vec
