#include "vlm/known_hashes.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/sha256.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Two seconds are longer than the clock tick of any file system in use.
bool is_settled(const FileStamp& stamp) { return std::time(nullptr) - stamp[2] / 1'000'000'000 >= 2; }

// {path: {"stamp": […], "sha256": "…"}}
json read_memory(const fs::path& memory) {
  std::error_code none;
  try {
    json known = !memory.empty() && fs::exists(memory, none) ? read_json(memory) : json::object();
    if (known.is_object()) return known;
  } catch (const Error&) {  // damaged: the hashes are computed again
  }
  return json::object();
}

// Keeps what other processes learned meanwhile; drops files that are gone.
void write_memory(const fs::path& memory, const json& learned) {
  json known = read_memory(memory);
  known.update(learned);
  std::error_code none;
  for (auto entry = known.begin(); entry != known.end();) {
    if (fs::exists(entry.key(), none)) ++entry;
    else entry = known.erase(entry);
  }
  fs::create_directories(memory.parent_path(), none);
  try {
    write_text(memory, known.dump(2, ' ', false, json::error_handler_t::replace) + "\n", Sync::later);
  } catch (const std::exception&) {  // read-only, or the disk is full: the next start reads the files again
  }
}

}  // namespace

FileStamp stamp_of(const fs::path& file) {
  struct stat s {};
  if (stat(file.c_str(), &s) != 0) fail(Exit::data, file.string(), ": ", std::strerror(errno));
  const auto nanoseconds = [](const timespec& t) { return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {s.st_size, nanoseconds(s.st_mtim), nanoseconds(s.st_ctim), int64_t(s.st_ino), int64_t(s.st_dev)};
}

fs::path hash_memory() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  fs::path folder;
  if (cache && fs::path(cache).is_absolute()) folder = cache;  // the standard ignores relative paths
  else if (home && *home) folder = fs::path(home) / ".cache";
  return folder.empty() ? folder : folder / "vlm2vec/file_hashes.json";
}

std::vector<std::string> known_hashes(const std::vector<fs::path>& files) {
  const fs::path memory = hash_memory();
  const json known = read_memory(memory);
  std::vector<std::string> hashes(files.size()), names;
  std::vector<FileStamp> stamps;
  std::vector<bool> settled;  // before the file is read: a change while it is read shows in the stamp
  std::vector<size_t> missing;
  for (const fs::path& file : files) {
    names.push_back(fs::canonical(file).string());
    stamps.push_back(stamp_of(file));
    settled.push_back(is_settled(stamps.back()));
    const auto entry = known.find(names.back());
    if (entry != known.end() && entry->is_object() && entry->value("stamp", json()) == stamps.back() &&
        entry->contains("sha256") && (*entry)["sha256"].is_string())
      hashes[names.size() - 1] = (*entry)["sha256"];
    else missing.push_back(names.size() - 1);
  }
  parallel_each(missing.size(), [&](size_t i) { hashes[missing[i]] = hash_of_file(files[missing[i]]); });
  json learned = json::object();
  for (const size_t i : missing)
    if (settled[i] && stamp_of(files[i]) == stamps[i])
      learned[names[i]] = {{"stamp", stamps[i]}, {"sha256", hashes[i]}};
  if (!learned.empty() && !memory.empty()) write_memory(memory, learned);
  return hashes;
}

}  // namespace vlm2vec
