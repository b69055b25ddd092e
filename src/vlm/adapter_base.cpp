#include "vlm/adapter_base.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "vlm/model_hash.h"

namespace vlm2vec {

std::string other_base_note(const std::filesystem::path& model, const std::filesystem::path& adapter,
                            std::string sha256) {
  const std::filesystem::path file = adapter / "training_state.json";
  if (!std::filesystem::exists(file)) return "";
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
                  ", whose files differed then); results are valid only with that base");
}

}  // namespace vlm2vec
