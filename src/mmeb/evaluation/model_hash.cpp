#include "mmeb/evaluation/model_hash.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tensor/parallel.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

struct ModelFile {
  fs::path path;
  std::string name;  // "model/config.json"
  nlohmann::json stamp;
  bool settled = false;  // not written a moment ago: a further change would show in the stamp
  std::string hash;
};

void add_files(const fs::path& folder, const std::string& role, std::vector<ModelFile>& files) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    const bool counts = configuration_files().contains(name) || kind == ".safetensors" ||
                        name == "model.safetensors.index.json" || name == "adapter_config.json" ||
                        name == "adapter_model.bin";
    if (counts && entry.is_regular_file()) files.push_back({fs::canonical(entry.path()), role + "/" + name});
  }
}

// The clock of a file's times ticks in milliseconds; two seconds are beyond it on every file system in use.
void stamp(ModelFile& file) {
  struct stat s {};
  if (stat(file.path.c_str(), &s) != 0) fail(Exit::data, file.path.string(), ": ", std::strerror(errno));
  const auto nanoseconds = [](const timespec& t) { return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  file.stamp = {s.st_size, nanoseconds(s.st_mtim), nanoseconds(s.st_ctim), s.st_ino, s.st_dev};
  file.settled = std::time(nullptr) - s.st_ctim.tv_sec >= 2;
}

std::string hash_of_file(const fs::path& path) {
  const auto file = MappedFile::open(path);
  return hex(sha256({reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()}));
}

nlohmann::json read_memo(const fs::path& memo) {
  try {
    nlohmann::json known = fs::exists(memo) ? read_json(memo) : nlohmann::json::object();
    if (known.is_object()) return known;
  } catch (const Error&) {  // damaged: what it knew is found out again
  }
  return nlohmann::json::object();
}

}  // namespace

Digest model_hash(const fs::path& model, const fs::path& adapter, const fs::path& memo) {
  std::vector<ModelFile> files;
  add_files(model, "model", files);
  if (!adapter.empty()) add_files(adapter, "adapter", files);
  std::sort(files.begin(), files.end(), [](const ModelFile& a, const ModelFile& b) { return a.name < b.name; });
  nlohmann::json known = read_memo(memo);
  for (ModelFile& file : files) {
    stamp(file);
    const auto entry = known.find(file.path.string());
    if (entry != known.end() && entry->is_object() && entry->value("stamp", nlohmann::json()) == file.stamp &&
        entry->contains("sha256") && (*entry)["sha256"].is_string())
      file.hash = (*entry)["sha256"];
  }
  parallel_for(int64_t(files.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i)
      if (files[i].hash.empty()) files[i].hash = hash_of_file(files[i].path);
  });
  std::string list;
  bool learned = false;
  for (const ModelFile& file : files) {
    list += file.hash + " " + file.name + "\n";
    const nlohmann::json entry = {{"stamp", file.stamp}, {"sha256", file.hash}};
    if (!file.settled || known.value(file.path.string(), nlohmann::json()) == entry) continue;
    known[file.path.string()] = entry;
    learned = true;
  }
  if (learned) write_json(memo, known);
  return sha256(list);
}

}  // namespace vlm2vec
