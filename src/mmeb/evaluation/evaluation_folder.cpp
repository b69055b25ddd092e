#include "mmeb/evaluation/evaluation_folder.h"

#include <algorithm>
#include <optional>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// In the mark: the other files of its group and their bytes.
constexpr const char* kFiles = "files";

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
    : folder_(folder), lock_(made_folder(folder)), overwrite_(overwrite), waits_(fs::exists(folder / "summary.json")) {
  remove_leftovers(folder);
  const fs::path rest = folder / "unfinished";
  if (!fs::is_directory(rest)) return;
  for (const auto& group : fs::directory_iterator(rest))
    if (group.is_directory()) remove_leftovers(group);
  overwrite_ = overwrite && waits_;  // else some groups of the new evaluation are up already
}

Json EvaluationFolder::find(const FileGroup& group) const {
  std::vector<fs::path> places = {unfinished(group)};
  if (!overwrite_) places.push_back(folder_);
  for (const fs::path& place : places) {
    const std::optional<Json> mark = read_mark(place / group.files.back());
    bool whole = mark.has_value();
    if (whole)
      for (const auto& [file, bytes] : mark->at(kFiles).items())  // perhaps moved up already
        whole = whole && (has_size(place / file, bytes) || has_size(folder_ / file, bytes));
    if (whole) return *mark;
  }
  return nullptr;
}

void EvaluationFolder::add(const FileGroup& group, const std::function<Json(const fs::path&)>& write) {
  const fs::path place = unfinished(group);
  fs::remove_all(place);
  make_folder(place);
  Json mark = write(place);
  mark[kFiles] = Json::object();
  for (const std::string& file : group.files)
    if (fs::exists(place / file)) mark[kFiles][file] = fs::file_size(place / file);
  write_text(place / group.files.back(), mark.dump(2) + "\n");
  if (!waits_) move_up(group);
}

// Killed in the middle it goes on later: what the mark names and is not here is up already.
void EvaluationFolder::move_up(const FileGroup& group) const {
  const fs::path place = unfinished(group), mark_file = group.files.back();
  const std::optional<Json> mark = read_mark(place / mark_file);
  if (mark) {
    fs::remove(folder_ / mark_file);
    for (const std::string& file : group.files)
      if (file == mark_file) continue;
      else if (fs::exists(place / file)) fs::rename(place / file, folder_ / file);
      else if (!mark->at(kFiles).contains(file)) fs::remove(folder_ / file);  // of an earlier evaluation
    fs::rename(place / mark_file, folder_ / mark_file);
  }
  fs::remove_all(place);
  std::error_code not_empty;
  fs::remove(folder_ / "unfinished", not_empty);
}

void EvaluationFolder::finish(const std::vector<FileGroup>& groups, const std::vector<FileGroup>& leftovers,
                              const std::string& summary) {
  const fs::path file = folder_ / "summary.json";
  const bool moves = std::ranges::any_of(groups, [&](const FileGroup& g) { return fs::exists(unfinished(g)); });
  if (!moves && leftovers.empty() && fs::exists(file) && read_text(file) == summary) return;  // as it was
  if (!summary.empty() && (moves || !leftovers.empty())) fs::remove(file);
  for (const FileGroup& group : groups)
    if (fs::exists(unfinished(group))) move_up(group);
  for (const FileGroup& group : leftovers)
    for (const std::string& old : group.files) fs::remove(folder_ / old);
  if (!summary.empty()) write_text(file, summary);
}

}  // namespace vlm2vec
