// The files that came before tokenizer.json, split out of one.
#pragma once
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/files.h"

namespace vlm2vec {

inline void split_tokenizer(const std::filesystem::path& tokenizer_json, const std::filesystem::path& folder,
                            const char* kind = "Qwen2Tokenizer") {
  const nlohmann::json whole = read_json(tokenizer_json);
  std::ofstream(folder / "vocab.json") << whole["model"]["vocab"];
  std::ofstream merges(folder / "merges.txt");
  merges << "#version: 0.2\n";
  for (const nlohmann::json& merge : whole["model"]["merges"])
    if (merge.is_string()) merges << merge.get<std::string>() << '\n';
    else merges << merge[0].get<std::string>() << ' ' << merge[1].get<std::string>() << '\n';
  nlohmann::json config = {{"tokenizer_class", kind}, {"added_tokens_decoder", nlohmann::json::object()}};
  for (nlohmann::json token : whole["added_tokens"]) {
    const std::string id = token["id"].dump();
    token.erase("id");
    config["added_tokens_decoder"][id] = token;
  }
  std::ofstream(folder / "tokenizer_config.json") << config;
}

}  // namespace vlm2vec
