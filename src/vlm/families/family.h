// The table of model families (families.cpp): what each family adds to the shared parts. A new family is two files
// beside this one and a row of the table.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor_files.h"
#include "vlm/image/picture_rule.h"
#include "vlm/prompt.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {

class Backbone;

// The positions that a family's attention knows.
enum class Rope {
  none,        // learned positions
  plain,       // each token counts
  multimodal,  // M-RoPE: time, row and column; a choice of --image_positions
};

// Files of a family's own, from which those of Hugging Face's layout are made in memory.
struct OwnLayout {
  const char* config;                                              // the name of the configuration
  nlohmann::json (*config_of)(const nlohmann::json& own);          // as config.json has it
  NamedTensors (*tensors_of)(const NamedTensors& own);             // under the names of transformers
};

struct Family {
  std::string model_type;  // of config.json
  std::string title;       // "Qwen2-VL"
  // Makes the modules for a config.json, without numbers. Throws Exit::data, without the file's name.
  std::unique_ptr<Backbone> (*make)(const nlohmann::json& config);
  // Adds to a config.json what only the weights in its folder say; none: it says all.
  void (*complete)(nlohmann::json& config, const std::filesystem::path& config_file) = nullptr;
  std::optional<OwnLayout> own_layout = {};
  // Reads the picture rule from the settings of the processor's file. Throws Exit::data, without the file's name.
  std::unique_ptr<PictureRule> (*picture_rule)(const nlohmann::json& settings);
  const char* new_pictures = "{}";  // such settings of a new folder where they differ from the class's defaults
  Rope rope;
  bool official_mask = false;            // VLM2Vec's evaluation has an attention mask of its own: a choice
  std::span<const PromptStyle> prompts;  // the styles of --prompt
  // The token for a picture in a prompt; empty: none, a row has a text, a picture or both.
  std::string image_token;
  // Token ids that transformers requires in config.json, and their tokens: the first in the tokenizer counts.
  std::vector<std::pair<const char*, std::vector<const char*>>> config_tokens;
  const char* tokenizer_class;  // in transformers 4; replaces the class that only 5 has
  TextCleaning text_cleaning = TextCleaning::none;
  // Rewrites config.json so that every version of transformers reads it.
  std::string (*portable_config)(const std::string& text);
  // config.json of a model with a few thousand parameters, for selftest; `hidden`: its width, a multiple of 8.
  nlohmann::json (*tiny_config)(int hidden);
};

std::span<const Family> families();
std::vector<PromptStyle> all_prompt_styles();  // of all families, each name once
// Return the family's style of that name; style_named() null for "". Throw Exit::usage, naming the family.
const PromptStyle& prompt_style(const Family& family, const std::string& name);
const PromptStyle* style_named(const Family& family, const std::string& name);
const char* prompt_help();                     // of the option --prompt: their names, and what they do
// Returns a folder's config.json, or the configuration of a family's own layout. It may be missing.
std::filesystem::path config_file_in(const std::filesystem::path& folder);
// Returns such a file's content, as config.json has it. Throws Exit::data, beginning with the file.
nlohmann::json read_config(const std::filesystem::path& config_file);
// Returns the family of such a file. Throws Exit::data, beginning with the file, for an unknown family.
const Family& family_of(const std::filesystem::path& config_file);
TextCleaning text_cleaning_in(const std::filesystem::path& folder);  // none for an unknown family
// Reads such a file and makes the family's modules. Throws Exit::data, beginning with the file.
std::unique_ptr<Backbone> make_backbone(const std::filesystem::path& config_file);

}  // namespace vlm2vec
