// The meta-task and the split of a test set, which say in which means its score counts.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

struct Task {
  std::string name, meta_task, split;  // "classification" | "vqa" | "retrieval" | "grounding"; "IND" | "OOD"
  bool optional = false;               // shown, but not counted in means
};
std::vector<Task> registered_tasks();  // MMEB's 36
// Reads tasks.json in the folder or its parent: {"datasets": [{"name", "meta_task", "split", "optional"}, …]}. Without
// the file, returns the 36 sets of MMEB.
std::vector<Task> read_tasks(const std::filesystem::path& folder);
// Throws Exit::data if a set is not among the tasks.
const Task& task_of(const std::string& set, const std::vector<Task>& tasks);

}  // namespace vlm2vec
