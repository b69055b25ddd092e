#include "mmeb/evaluation/model_hash.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tensor/io/hub.h"
#include "tensor/parallel.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

std::array<int64_t, 5> stamp_of(const fs::path& file) {
  struct stat s {};
  if (stat(file.c_str(), &s) != 0) fail(Exit::data, file.string(), ": ", std::strerror(errno));
  const auto nanoseconds = [](const timespec& t) { return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {s.st_size, nanoseconds(s.st_mtim), nanoseconds(s.st_ctim), int64_t(s.st_ino), int64_t(s.st_dev)};
}

// Not written a moment ago, so that a further change shows in the stamp: file systems' clocks tick in milliseconds, two
// seconds are beyond the tick of all in use.
bool is_settled(const std::array<int64_t, 5>& stamp) { return std::time(nullptr) - stamp[2] / 1'000'000'000 >= 2; }

nlohmann::json read_memo(const fs::path& memo) {
  try {
    nlohmann::json known = !memo.empty() && fs::exists(memo) ? read_json(memo) : nlohmann::json::object();
    if (known.is_object()) return known;
  } catch (const Error&) {  // damaged: what it knew is found out again
  }
  return nlohmann::json::object();
}

}  // namespace

void ModelHash::add_files(const fs::path& folder, const std::string& role, std::vector<ModelFile>& files) {
  require_folder(folder, role == "adapter" ? "a PEFT adapter" : "a Hugging Face checkpoint");
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    const bool counts = configuration_files().contains(name) ||
                        (kind == ".safetensors" && name != "optimizer.safetensors" &&  // moments of a training run
                         !name.starts_with("consolidated")) ||                         // weights in a layout of others
                        name == "model.safetensors.index.json" ||
                        name == "adapter_config.json" || name == "adapter_model.bin";
    if (!counts || !entry.is_regular_file()) continue;
    const fs::path path = fs::canonical(entry.path());
    files.push_back({role + "/" + name, path, stamp_of(path)});
  }
}

std::vector<ModelHash::ModelFile> ModelHash::list_files() const {
  std::vector<ModelFile> files;
  add_files(model_, "model", files);
  if (!adapter_.empty()) add_files(adapter_, "adapter", files);
  std::ranges::sort(files, {}, &ModelFile::name);
  return files;
}

ModelHash::ModelHash(const fs::path& model, const fs::path& adapter, const fs::path& memo)
    : model_(model), adapter_(adapter), files_(list_files()) {
  nlohmann::json known = read_memo(memo);
  std::vector<std::string> hashes(files_.size());
  std::vector<uint8_t> settled(files_.size());  // before the file is read
  for (size_t i = 0; i < files_.size(); ++i) {
    settled[i] = is_settled(files_[i].stamp);
    const auto entry = known.find(files_[i].path.string());
    if (entry != known.end() && entry->is_object() && entry->value("stamp", nlohmann::json()) == files_[i].stamp &&
        entry->contains("sha256") && (*entry)["sha256"].is_string())
      hashes[i] = (*entry)["sha256"];
  }
  parallel_for(int64_t(files_.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i)
      if (hashes[i].empty()) hashes[i] = hash_of_file(files_[i].path);
  });
  std::string list;
  bool learned = false;
  for (size_t i = 0; i < files_.size(); ++i) {
    list += hashes[i] + " " + files_[i].name + "\n";
    const nlohmann::json entry = {{"stamp", files_[i].stamp}, {"sha256", hashes[i]}};
    if (!settled[i] || known.value(files_[i].path.string(), nlohmann::json()) == entry) continue;
    known[files_[i].path.string()] = entry;
    learned = true;
  }
  if (learned && !memo.empty()) write_json(memo, known);
  digest_ = sha256(list);
}

void ModelHash::require_unchanged() const {
  if (list_files() != files_)
    fail(Exit::data, model_.string(), ": files of the model changed while it was in use; start again when they are ",
         "complete");
}

}  // namespace vlm2vec
