// The folder that eval writes to, in which nothing whole is lost to anything that is not. The files of a set are a
// group: they are made in unfinished/SET and moved up together when all are there, the one that marks the group (its
// scores) last. Where a finished evaluation lies, with its summary.json, and with --overwrite, groups wait until the
// new evaluation is whole, too; until then the old one is untouched. Whatever ends the program, the next one goes on
// from the groups that are whole.
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
  std::vector<std::string> files;     // the last one, a JSON object, marks the group as whole
  std::vector<std::string> optional;  // files that it may have or not
};

class EvaluationFolder {
 public:
  // Made if absent; no other process writes into it while this lives. `overwrite`: what is finished is not found, only
  // groups that wait.
  EvaluationFolder(const std::filesystem::path& folder, bool overwrite);

  // The mark of a group that is whole and `wanted`, among those that wait or here; null if there is none.
  nlohmann::ordered_json find(const FileGroup& group,
                              const std::function<bool(const nlohmann::ordered_json& mark)>& wanted);
  bool has(const FileGroup& group, const std::string& file) const;
  // write(folder) writes the group's files there, all but the mark, which it returns.
  void add(const FileGroup& group, const std::function<nlohmann::ordered_json(const std::filesystem::path&)>& write);
  // When all are whole: moves up what waits and writes summary.json (unless `summary` is empty).
  void finish(const std::vector<FileGroup>& groups, const std::string& summary);

 private:
  std::filesystem::path unfinished() const { return folder_ / "unfinished"; }
  void move_up(const FileGroup& group) const;
  std::filesystem::path folder_;
  FolderLock lock_;
  bool overwrite_, waits_;         // waits: there is a finished evaluation, or one with --overwrite is being made
  std::set<std::string> waiting_;  // groups of this evaluation that are to be moved up
};

}  // namespace vlm2vec
