// Says which layers get an adapter, with which rank and alpha. Fields and meanings are those of PEFT's LoraConfig.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "io/pattern.h"
#include "nn/tensor_names.h"

namespace vlm2vec {

// How a file names the layers. hub: transformers since 4.52 (model.language_model.layers.0, model.visual.blocks.0).
// official: VLM2Vec's model class, transformers up to 4.51 and this program (model.layers.0, visual.blocks.0).
// automodel: AutoModel (language_model.layers.0, visual.blocks.0).
enum class Spelling { hub, official, automodel };
inline constexpr Spelling kSpellings[] = {Spelling::hub, Spelling::official, Spelling::automodel};

inline constexpr const char* kAllLinear = "all-linear";
bool is_all_linear(const std::string& target);  // ignores case

std::string spelled(const std::string& path, Spelling spelling, const TensorNames& names);
Spelling spelling_of(const std::string& option);  // "hub" or "official"; Exit::usage for anything else

// An entry of rank_pattern or alpha_pattern. It applies to a layer if the expression fits the path, or the rest of the
// path after one of its dots (PEFT's get_pattern_key). Exit::data if it is not a regular expression.
template <class T>
struct PatternEntry {
  PatternEntry(std::string key, T number)
      : expression(std::move(key)), value(number), pattern("(?:.*\\.)?(?:" + expression + ")") {}
  std::string expression;
  T value;
  Pattern pattern;
};

struct LoraConfig {
  int rank = 8;
  double alpha = 64, dropout = 0;
  std::vector<std::string> target_modules;  // selects a layer if its path is the name or ends with "." + name
  bool use_dora = false, use_rslora = false;
  // Replaces the list if not empty: a regular expression for the whole path, or kAllLinear.
  std::string target_pattern;
  std::vector<std::string> exclude_modules;  // excludes layers in the same way
  std::string exclude_pattern;
  // Limits layers selected by the end of their path to these numbers (empty: all). The number follows a match of one of
  // the regular expressions layers_pattern (empty: it is the first number after two names).
  std::vector<int> layers_to_transform;
  std::vector<std::string> layers_pattern;
  // Other ranks and alphas for some layers; the first entry that fits counts.
  std::vector<PatternEntry<int>> rank_pattern;
  std::vector<PatternEntry<double>> alpha_pattern;
  // The spelling of all names above: an entry that fits only in another spelling has no effect.
  Spelling spelling = Spelling::official;
  const TensorNames* names = &kPlainNames;  // of the model

  bool targets(const std::string& path) const;
  int rank_of(const std::string& path) const;
  double alpha_of(const std::string& path) const;
  double scale_of(const std::string& path) const;

  // Returns a note for each entry without effect on the `adapted` of all linear layers:
  // rank_pattern "layers.9.q_proj" fits no layer of the adapter.
  std::vector<std::string> dead_entries(const std::vector<std::string>& adapted,
                                        const std::vector<std::string>& all) const;
  // Returns a configuration in the given spelling that gives PEFT the same `adapted` of all linear layers: this one, or
  // one that names every layer.
  LoraConfig written_for(const std::vector<std::string>& adapted, const std::vector<std::string>& all,
                         Spelling spelling) const;

 private:
  std::string spelled(const std::string& path) const { return vlm2vec::spelled(path, spelling, *names); }
};

}  // namespace vlm2vec
