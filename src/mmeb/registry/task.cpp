#include "mmeb/registry/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "mmeb/registry/registry.h"

namespace vlm2vec {
namespace fs = std::filesystem;
using nlohmann::json;

std::vector<Task> registered_tasks() {
  std::vector<Task> tasks;
  for (const RegisteredSet& set : registered_sets()) tasks.push_back({set.name, set.meta_task, set.split});
  return tasks;
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
  for (const Task& known : registered_tasks())  // the file adds to MMEB's sets or replaces them
    if (std::none_of(tasks.begin(), tasks.end(), [&](const Task& task) { return task.name == known.name; }))
      tasks.push_back(known);
  return tasks;
}

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, set,
       ": this set is neither one of MMEB's 36 nor in a tasks.json in the folder of --dataset_name or "
       "--dataset_config, or in the one above; write there "
       R"({"datasets": [{"name": ")",
       set, R"(", "meta_task": "retrieval", "split": "IND"}]})");
}

}  // namespace vlm2vec
