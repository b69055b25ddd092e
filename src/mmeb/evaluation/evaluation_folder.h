// The output folder of eval, which never replaces complete results by incomplete ones. The files of a set are a group:
// they are written to unfinished/SET and moved up together, the mark of the group (its scores) last. If the folder
// holds a finished evaluation (summary.json), or with --overwrite, all groups wait until the new evaluation is
// complete. However the program ends, the next run continues from the complete groups.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/folder_lock.h"

namespace vlm2vec {

struct FileGroup {
  std::string name;
  std::vector<std::string> files;     // the last one, a JSON object, marks the group as complete
  std::vector<std::string> optional;  // files that it may have
};

class EvaluationFolder {
 public:
  // Creates the folder if absent and locks it against other processes. With `overwrite`, find() ignores finished groups
  // and sees only waiting ones.
  EvaluationFolder(const std::filesystem::path& folder, bool overwrite);

  // Returns the mark of a complete group, waiting or finished, for which `wanted` is true; null if there is none.
  nlohmann::ordered_json find(const FileGroup& group,
                              const std::function<bool(const nlohmann::ordered_json& mark)>& wanted);
  bool has(const FileGroup& group, const std::string& file) const;
  // Adds a group: write(folder) must write all its files except the mark, and return the mark.
  void add(const FileGroup& group, const std::function<nlohmann::ordered_json(const std::filesystem::path&)>& write);
  // Must be called when all groups are complete: moves up waiting groups and writes `summary`, if any, as summary.json.
  void finish(const std::vector<FileGroup>& groups, const std::string& summary);

 private:
  std::filesystem::path unfinished() const { return folder_ / "unfinished"; }
  void move_up(const FileGroup& group) const;
  std::filesystem::path folder_;
  FolderLock lock_;
  bool overwrite_, waits_;         // waits: there is a finished evaluation, or --overwrite is under way
  std::set<std::string> waiting_;  // groups of this evaluation that must be moved up
};

}  // namespace vlm2vec
