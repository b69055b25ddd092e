#include "vlm/portable_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/files.h"

namespace vlm2vec {

using nlohmann::ordered_json;

std::string portable_config(const std::string& text) {
  const ordered_json given = ordered_json::parse(text);
  ordered_json config = given;
  if (has_value(config, "text_config")) {
    const ordered_json inner = config["text_config"];
    for (const char* field : {"text_config", "rope_scaling", "rope_parameters", "rope_theta"}) config.erase(field);
    for (const auto& [field, value] : inner.items()) {
      const bool of_whole = field == "model_type" || field == "architectures" || field == "tie_word_embeddings" ||
                            field.ends_with("dtype") || field.ends_with("token_id");
      if (!of_whole || !has_value(config, field.c_str())) config[field] = value;
    }
  }
  if (has_value(config, "rope_parameters")) {  // missing values get the defaults of transformers 5
    const ordered_json rope = config["rope_parameters"];
    if (rope.contains("rope_theta") || !has_value(config, "rope_theta"))
      config["rope_theta"] = rope.value("rope_theta", 1e6);
    if (!has_value(config, "rope_scaling"))
      config["rope_scaling"] = {{"type", "mrope"},
                                {"mrope_section", rope.value("mrope_section", ordered_json{16, 24, 24})}};
    config.erase("rope_parameters");
  }
  if (has_value(config, "dtype") && !has_value(config, "torch_dtype")) config["torch_dtype"] = config["dtype"];
  return config == given ? text : config.dump(2) + "\n";
}

std::string portable_tokenizer_config(const std::string& text, const std::string& tokenizer_class) {
  const ordered_json given = ordered_json::parse(text);
  ordered_json config = given;
  if (config.contains("extra_special_tokens") && config["extra_special_tokens"].is_array()) {
    ordered_json all =
        has_value(config, "additional_special_tokens") ? config["additional_special_tokens"] : ordered_json::array();
    for (const ordered_json& token : config["extra_special_tokens"])
      if (std::ranges::find(all, token) == all.end()) all.push_back(token);
    config.erase("extra_special_tokens");
    config["additional_special_tokens"] = all;
  }
  if (config.value("tokenizer_class", ordered_json()) == "TokenizersBackend")
    config["tokenizer_class"] = tokenizer_class;
  return config == given ? text : config.dump(2) + "\n";
}

}  // namespace vlm2vec
