#include "vlm/sentence_transformers.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

// Returns "Pooling" for sentence_transformers.models.Pooling and sentence_transformers.….pooling.Pooling; the whole
// name for modules of other packages.
std::string module_kind(const std::string& type) {
  return type.starts_with("sentence_transformers.") ? type.substr(type.rfind('.') + 1) : type;
}

// Returns "mean+lasttoken" from a Pooling folder's config.json of versions up to 5 or since 6; the default is mean.
std::string pooling_mode(const fs::path& config_file) {
  const json config = fs::exists(config_file) ? read_json(config_file) : json::object();
  std::string mode;
  const auto add = [&](const std::string& one) { mode += (mode.empty() ? "" : "+") + one; };
  if (const json modes = config.value("pooling_mode", json()); modes.is_string()) {
    add(modes);
  } else if (modes.is_array()) {
    for (const json& one : modes) add(one);
  } else {
    const std::string front = "pooling_mode_";
    for (const auto& [name, value] : config.items())
      if (name.starts_with(front) && value == true) add(name.substr(front.size()));
  }
  return mode.empty() ? "mean" : mode;
}

void check_modules(const fs::path& folder, std::vector<std::string>& notes) {
  const fs::path file = folder / "modules.json";
  const auto refuse = [&](const auto&... what) {
    fail(Exit::data, file.string(), ": ", what..., "; this program pools the last token and normalises, nothing else");
  };
  bool pooled = false, first = true;
  for (const json& module : read_json(file)) {
    const bool stands_for_model = std::exchange(first, false);
    const std::string type = module.at("type"), kind = module_kind(type), path = module.value("path", "");
    if (path.find("..") != path.npos || path.starts_with('/')) refuse("a module lies in ", json(path));
    if (kind == "Transformer") {
      if (!path.empty())
        refuse("the model itself lies in ", path, ": name ", (folder / path).string(), " instead");
    } else if (kind == "Pooling") {
      const std::string mode = pooling_mode(folder / path / "config.json");
      if (mode != "lasttoken") refuse("the embedding is pooled by ", mode, " (", path, "/config.json)");
      pooled = true;
    } else if (type == kind) {
      const std::string is_python = " is Python code in the model's folder, which is not run";
      if (!stands_for_model || !path.empty()) refuse(type, is_python);
      notes.push_back(file.string() + ": " + type + is_python + "; the model is read from the folder itself");
    } else if (kind != "Normalize" && kind != "Dropout") {  // unit vectors anyway; dropout is for training
      refuse("asks for ", kind);
    }
  }
  if (!pooled) refuse("lists no Pooling");
}

void note_prompts(const fs::path& folder, std::vector<std::string>& notes) {
  const fs::path file = folder / "config_sentence_transformers.json";
  if (!fs::exists(file)) return;
  const json config = read_settings(file);
  if (config.contains("truncate_dim"))
    fail(Exit::data, file.string(), ": truncate_dim is ", config["truncate_dim"],
         ", which is not applied; take the field out, and give --dim for cut vectors");
  const json prompts = config.value("prompts", json::object());
  std::string names;
  for (const auto& [name, text] : prompts.items())
    if (text.is_string() && text != "") names += (names.empty() ? "" : ", ") + name + " " + text.dump();
  if (names.empty()) return;
  const std::string by_default = config.value("default_prompt_name", "");
  notes.push_back(file.string() + ": prompts are not applied: " + names +
                  (by_default.empty() ? "" : " (by default " + by_default + ")") + "; put yours in front of each text");
}

void check_transformer(const fs::path& folder, std::vector<std::string>& notes) {
  const fs::path file = folder / "sentence_bert_config.json";
  if (!fs::exists(file)) return;
  const json config = read_settings(file);
  if (config.value("do_lower_case", json(false)) != false)
    fail(Exit::data, file.string(), ": do_lower_case is ", config["do_lower_case"],
         ", but texts are read as they are; write them in lower case and take the field out");
  if (const json name = config.value("module_output_name", json("token_embeddings")); name != "token_embeddings")
    fail(Exit::data, file.string(), ": module_output_name is ", name,
         "; this program pools token_embeddings, the states of the last layer");
  const std::set<std::string> known = {"do_lower_case", "module_output_name", "transformer_task", "max_seq_length",
                                       "modality_config"};
  for (const auto& [name, value] : config.items())
    if (!known.contains(name) && value != false && !(value.is_structured() && value.empty()))
      notes.push_back(file.string() + ": " + name + " " + value.dump() + " is not applied");
  if (config.value("modality_config", json::object()).contains("message"))
    notes.push_back(file.string() +
                    ": sentence-transformers puts each text into the chat template; here the text is the "
                    "prompt itself, unless --prompt says otherwise");
  if (const json most = config.value("max_seq_length", json()); most.is_number())
    notes.push_back(file.string() + ": max_seq_length " + most.dump() + " is not applied; --max_len cuts texts");
}

}  // namespace

void check_sentence_transformers(const fs::path& folder, std::vector<std::string>& notes) {
  if (!fs::exists(folder / "modules.json")) return;
  try {
    check_modules(folder, notes);
    note_prompts(folder, notes);
    check_transformer(folder, notes);
  } catch (const json::exception& error) {
    fail(Exit::data, folder.string(), ": its sentence-transformers files cannot be read: ", reason_of(error));
  }
}

std::set<std::string> sentence_transformers_files() {
  return {"modules.json", "sentence_bert_config.json", "1_Pooling", "2_Normalize"};
}

void write_sentence_transformers(const fs::path& folder, int64_t dim, const std::string& picture) {
  const std::string package = "sentence_transformers.";
  const auto module = [&](int number, const char* path, const std::string& type) {
    return ordered_json{{"idx", number}, {"name", std::to_string(number)}, {"path", path}, {"type", package + type}};
  };
  const ordered_json forward = {{"method", "forward"}, {"method_output_name", "last_hidden_state"}};
  ordered_json message = forward;
  message["format"] = "structured";
  const ordered_json transformer = {{"transformer_task", "feature-extraction"},
                                    {"modality_config", {{"text", forward}, {"image", forward}, {"message", message}}},
                                    {"module_output_name", "token_embeddings"}},
                     modules = {module(0, "", "base.modules.transformer.Transformer"),
                                module(1, "1_Pooling", "sentence_transformer.modules.pooling.Pooling"),
                                module(2, "2_Normalize", "base.modules.normalize.Normalize")},
                     pooling = {{"embedding_dimension", dim}, {"pooling_mode", "lasttoken"}, {"include_prompt", true}},
                     normalize = {{"module_input_name", "sentence_embedding"},
                                  {"module_output_name", "sentence_embedding"}};
  const auto write = [](const fs::path& file, const ordered_json& content) {
    make_folder(file.parent_path());
    write_text(file, content.dump(2) + "\n");
  };
  write(folder / "modules.json", modules);
  write(folder / "sentence_bert_config.json", transformer);
  write(folder / "1_Pooling/config.json", pooling);
  write(folder / "2_Normalize/config.json", normalize);
  fs::remove(folder / "chat_template.json");
  write_text(folder / "chat_template.jinja",
             "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
             "{% for part in message['content'] %}{% if part['type'] == 'image' %}" +
                 picture +
                 "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}");
}

}  // namespace vlm2vec
