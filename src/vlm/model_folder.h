// What lies in a folder that a model is to be read from, looked at as a whole before anything is read: what is used,
// what is not, and why it cannot be. Every command that takes a model begins here.
#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace vlm2vec {

struct ModelFolder {
  std::filesystem::path path;
  std::filesystem::path adapter;  // the PEFT folder to apply: the one that was named, else `path` if own_adapter
  bool own_adapter = false;       // an adapter lies beside the weights; transformers applies such a one
  std::vector<std::filesystem::path> weights;  // safetensors; empty: there are none, and none were needed
  bool sharded = false;                        // the weights are those of model.safetensors.index.json
  // Files of configuration by their names: the model's, but an adapter's own processor and tokenizer in their place.
  std::map<std::string, std::filesystem::path> configuration;
  std::filesystem::path processor;         // processor_config.json with an image_processor, or preprocessor_config.json
  std::filesystem::path tokenizer_folder;  // of tokenizer.json, or of vocab.json and merges.txt
  std::vector<std::string> notes;          // for the user: what is not used, what takes another's place

  // Exit::data if an adapter lies beside the weights and another one was named, so that one of them would be left out.
  void require_one_adapter() const;
};

inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kWeightsIndex = "model.safetensors.index.json";

// Names of the files that a Hugging Face folder may have beside its weights.
const std::set<std::string>& configuration_files();
const std::set<std::string>& processor_files();  // of these, how pictures are prepared
const std::set<std::string>& tokenizer_files();  // of these, the tokenizer and its chat template

// Exit::data, with the cure, for what is not a whole model: a name of the hub, its cache, an unfinished download, an
// adapter alone, weights in another format, a sentence-transformers folder that pools otherwise. `adapter` may be
// empty; one that lies beside the weights counts as named, and naming another one as well is refused. without_weights:
// for a model whose numbers are made, not read.
ModelFolder look_at_model_folder(const std::filesystem::path& path, const std::filesystem::path& adapter = {},
                                 bool without_weights = false);

bool has_tokenizer(const std::filesystem::path& folder);

}  // namespace vlm2vec
