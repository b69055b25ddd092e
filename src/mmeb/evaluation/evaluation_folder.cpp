#include "mmeb/evaluation/evaluation_folder.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Key in the mark: the sizes of the group's other files, except optional ones.
constexpr const char* kFiles = "files";

// Marker files in unfinished/. The first: a run with --overwrite writes groups there. The second: all groups are
// complete and are being moved up.
constexpr const char *kOverwriting = "overwriting", *kMoving = "moving";

const fs::path& made_folder(const fs::path& folder) {
  make_folder(folder);
  return folder;
}

std::optional<Json> read_mark(const fs::path& file) {
  if (!fs::is_regular_file(file)) return {};
  const Json mark = Json::parse(read_text(file), nullptr, false);
  return mark.is_object() && mark.contains(kFiles) && mark[kFiles].is_object() ? std::optional(mark) : std::nullopt;
}

bool has_size(const fs::path& file, const Json& bytes) {
  std::error_code none;
  return bytes.is_number_integer() && fs::is_regular_file(file, none) && fs::file_size(file, none) == bytes;
}

}  // namespace

EvaluationFolder::EvaluationFolder(const fs::path& folder, bool overwrite)
    : folder_(folder), lock_(made_folder(folder)) {
  remove_leftovers(folder);
  overwrite_ = overwrite && !fs::exists(unfinished() / kMoving);  // else some groups of this evaluation have moved up
  if (overwrite_ && !fs::exists(unfinished() / kOverwriting)) {
    remove_folder(unfinished());
    make_folder(unfinished());
    write_text(unfinished() / kOverwriting, "");
  }
  waits_ = fs::exists(folder / "summary.json") || fs::exists(unfinished() / kOverwriting);
  if (!fs::is_directory(unfinished())) return;
  for (const auto& group : fs::directory_iterator(unfinished()))
    if (std::error_code unreadable; group.is_directory(unreadable)) remove_leftovers(group);
}

Json EvaluationFolder::find(const FileGroup& group, const std::function<bool(const Json&)>& wanted) {
  std::vector<fs::path> places = {unfinished() / group.name};
  if (!overwrite_) places.push_back(folder_);
  for (const fs::path& place : places) {
    const std::optional<Json> mark = read_mark(place / group.files.back());
    bool whole = mark.has_value();
    if (whole)
      for (const auto& [file, bytes] : mark->at(kFiles).items())  // perhaps moved up already
        whole = whole && (has_size(place / file, bytes) || has_size(folder_ / file, bytes));
    if (!whole || !wanted(*mark)) continue;
    if (place != folder_) waiting_.insert(group.name);
    return *mark;
  }
  return nullptr;
}

bool EvaluationFolder::has(const FileGroup& group, const std::string& file) const {
  return fs::exists(unfinished() / group.name / file) || fs::exists(folder_ / file);
}

void EvaluationFolder::add(const FileGroup& group, const std::function<Json(const fs::path&)>& write) {
  const fs::path place = unfinished() / group.name;
  fs::remove_all(place);
  make_folder(place);
  Json mark = write(place);
  mark[kFiles] = Json::object();
  for (const std::string& file : group.files)
    if (fs::exists(place / file)) mark[kFiles][file] = fs::file_size(place / file);
  write_text(place / group.files.back(), mark.dump(2) + "\n");
  if (waits_) waiting_.insert(group.name);
  else move_up(group);
}

// Continues after a kill: files missing here have already moved up, the first file of a group before all others.
void EvaluationFolder::move_up(const FileGroup& group) const {
  const fs::path place = unfinished() / group.name;
  const auto move = [&](const std::string& file) {
    if (fs::exists(place / file)) fs::rename(place / file, folder_ / file);
  };
  if (fs::exists(place / group.files.front())) {  // removes an earlier evaluation's files, its mark first
    fs::remove(folder_ / group.files.back());
    for (const std::string& file : group.optional) fs::remove(folder_ / file);
  }
  for (const std::string& file : group.files)
    if (file != group.files.back()) move(file);
  for (const std::string& file : group.optional) move(file);
  move(group.files.back());
  fs::remove_all(place);
}

void EvaluationFolder::finish(const std::vector<FileGroup>& groups, const std::string& summary) {
  const fs::path file = folder_ / "summary.json";
  if (!waiting_.empty()) {
    write_text(unfinished() / kMoving, "");
    fs::remove(unfinished() / kOverwriting);
    if (!summary.empty()) fs::remove(file);
    for (const FileGroup& group : groups)
      if (waiting_.contains(group.name)) move_up(group);
  }
  if (!summary.empty() && !(fs::exists(file) && read_text(file) == summary)) write_text(file, summary);
  if (!fs::exists(unfinished() / kOverwriting)) remove_folder(unfinished());  // else another evaluation is half done
}

}  // namespace vlm2vec
