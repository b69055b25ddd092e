// The families of models that this program runs, in one table (families.cpp): what each adds to the parts that all
// share. A new family is two files beside this one and a row of that table.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

class Backbone;

struct Family {
  std::string model_type;  // of config.json
  std::string title;       // "Qwen2-VL"
  // The modules for a config.json, without numbers. Throws Exit::data, without the file's name.
  std::unique_ptr<Backbone> (*make)(const nlohmann::json& config);
  // How pictures are prepared, from the settings of the processor's file. Throws Exit::data, without the file's name.
  std::unique_ptr<PictureRule> (*picture_rule)(const nlohmann::json& settings);
  // What stands for a picture in a prompt; empty: nothing does, a row has a text, a picture or both.
  std::string image_token;
  // Token ids that transformers requires in config.json, and the tokens for them, the first that the tokenizer has.
  std::vector<std::pair<const char*, std::vector<const char*>>> config_tokens;
  const char* tokenizer_class;  // of transformers 4, for files that name the class which only 5 has
  // config.json as transformers of every version reads it.
  std::string (*portable_config)(const std::string& text);
  // config.json of a model with a few thousand parameters, for selftest; `hidden`: its width, a multiple of 8.
  nlohmann::json (*tiny_config)(int hidden);
};

std::span<const Family> families();
// The family of a model's folder. Throws Exit::data, beginning with `config_file`, for one that this program lacks.
const Family& family_of(const std::filesystem::path& config_file);
// Reads config.json and makes the family's modules. Throws Exit::data, beginning with the file.
std::unique_ptr<Backbone> make_backbone(const std::filesystem::path& config_file);

}  // namespace vlm2vec
