#include "vlm/model_hash.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/hub.h"
#include "vlm/families/family.h"
#include "vlm/model_folder.h"

namespace vlm2vec {

namespace fs = std::filesystem;

void ModelHash::add_files(const fs::path& folder, const std::string& role, std::vector<ModelFile>& files) {
  require_folder(folder, role == "adapter" ? "a PEFT adapter" : "a Hugging Face checkpoint");
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    const bool counts = configuration_files().contains(name) || entry.path() == config_file_in(folder) ||
                        (kind == ".safetensors" && name != "optimizer.safetensors" &&  // moments of a training run
                         !name.starts_with("consolidated")) ||                         // weights in another layout
                        (kind == ".bin" && name.starts_with("pytorch_model")) ||
                        name == kWeightsIndex || name == kTorchIndex || name == "adapter_config.json" ||
                        name == "adapter_model.bin";
    if (std::error_code unreadable; !counts || !entry.is_regular_file(unreadable)) continue;
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

ModelHash::ModelHash(const fs::path& model, const fs::path& adapter)
    : model_(model), adapter_(adapter), files_(list_files()) {
  std::vector<fs::path> paths;
  for (const ModelFile& file : files_) paths.push_back(file.path);
  const std::vector<std::string> hashes = known_hashes(paths);
  std::string list;
  for (size_t i = 0; i < files_.size(); ++i) list += hashes[i] + " " + files_[i].name + "\n";
  digest_ = sha256(list);
}

void ModelHash::require_unchanged() const {
  if (list_files() != files_)
    fail(Exit::data, model_.string(), ": files of the model changed while it was in use; start again when they are ",
         "complete");
}

std::string other_base_note(const fs::path& model, const fs::path& adapter,
                            std::string sha256) {
  const fs::path file = adapter / "training_state.json";
  if (!fs::exists(file)) return "";
  const nlohmann::json state = read_json(file);
  const auto text = [](const nlohmann::json& object, const char* name) {
    const bool there = object.is_object() && object.contains(name) && object[name].is_string();
    return there ? object[name].get<std::string>() : std::string();
  };
  const std::string trained_on = text(state, "base_model");
  if (trained_on.empty()) return "";
  if (sha256.empty()) sha256 = hex(ModelHash(model, "").digest());
  if (trained_on == sha256) return "";
  return sentence("warning: ", adapter.string(), " was trained on another base model than ", model.string(), " (",
                  text(state.value("options", nlohmann::json()), "model_name"),
                  ", whose files have changed since); results are valid only with that base");
}

}  // namespace vlm2vec
