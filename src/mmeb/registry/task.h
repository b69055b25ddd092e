// Which meta-task and split a test set belongs to: what its score counts for.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

struct Task {
  std::string name, meta_task, split;  // "classification" | "vqa" | "retrieval" | "grounding"; "IND" | "OOD"
  bool optional = false;               // shown, but in no mean
};
std::vector<Task> registered_tasks();  // MMEB's 36
// From tasks.json in the folder or the one above: {"datasets": [{"name", "meta_task", "split", "optional"}, …]};
// without one, the 36 sets of MMEB.
std::vector<Task> read_tasks(const std::filesystem::path& folder);
// Exit::data if a set is not among the tasks.
const Task& task_of(const std::string& set, const std::vector<Task>& tasks);

}  // namespace vlm2vec
