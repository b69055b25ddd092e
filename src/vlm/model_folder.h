// Looks at a model's folder as a whole before anything is loaded: which files are used, which are not, and why a folder
// is refused. Every command that takes a model begins here.
#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace vlm2vec {

struct ModelFolder {
  std::filesystem::path path;
  std::filesystem::path config;   // config.json, or the configuration of a family's own layout
  std::filesystem::path adapter;  // the PEFT folder to apply: the one that was named, else `path` if own_adapter
  bool own_adapter = false;       // an adapter lies beside the weights; transformers applies it, too
  std::vector<std::filesystem::path> weights;  // safetensors, or .bin of torch; empty: no weights are needed
  std::filesystem::path index;                 // lists the weights if they are in shards
  // Configuration files by name; an adapter's own processor and tokenizer replace the model's.
  std::map<std::string, std::filesystem::path> configuration;
  std::filesystem::path processor;         // processor_config.json with an image_processor, or preprocessor_config.json
  std::filesystem::path tokenizer_folder;  // has tokenizer.json or older files
  std::vector<std::string> notes;          // for the user: unused and replaced files

  // Throws Exit::data if an adapter lies beside the weights and --adapter names another one.
  void require_one_adapter() const;
};

inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kWeightsIndex = "model.safetensors.index.json";
inline constexpr const char* kTorchIndex = "pytorch_model.bin.index.json";

// Names of the files that a Hugging Face folder may have beside its weights.
const std::set<std::string>& configuration_files();
const std::set<std::string>& processor_files();  // those that say how pictures are prepared
const std::set<std::string>& tokenizer_files();  // those of the tokenizer and its chat template

// Throws Exit::data, with the cure, unless the folder is a whole model. It refuses names on the hub, its cache,
// unfinished downloads, adapters alone, weights in other formats, sentence-transformers folders that pool otherwise.
// `adapter` may be empty; an adapter beside the weights counts as named. without_weights: the numbers will be made.
ModelFolder look_at_model_folder(const std::filesystem::path& path, const std::filesystem::path& adapter = {},
                                 bool without_weights = false);

bool has_tokenizer(const std::filesystem::path& folder);

}  // namespace vlm2vec
