// Which layers get an adapter, and with which rank and alpha: the fields of PEFT's LoraConfig, with PEFT's meaning.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "nn/pattern.h"
#include "nn/tensor_names.h"

namespace vlm2vec {

// How a file calls the layers: as transformers does since 4.52 (model.language_model.layers.0, model.visual.blocks.0),
// as VLM2Vec's own model class and transformers up to 4.51 do (model.layers.0, visual.blocks.0; so does this program),
// or as AutoModel does (language_model.layers.0, visual.blocks.0).
enum class Spelling { hub, official, automodel };
inline constexpr Spelling kSpellings[] = {Spelling::hub, Spelling::official, Spelling::automodel};

inline constexpr const char* kAllLinear = "all-linear";
bool is_all_linear(const std::string& target);  // in capitals, too

std::string spelled(const std::string& path, Spelling spelling, const TensorNames& names);
Spelling spelling_of(const std::string& option);  // "hub" or "official"; Exit::usage for anything else

// An entry of rank_pattern or alpha_pattern. It holds for a layer if the expression fits the path, or what follows one
// of its dots (PEFT's get_pattern_key). Exit::data if it is not a regular expression.
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
  std::vector<std::string> target_modules;  // a layer is meant if its path is the name or ends with "." + name
  bool use_dora = false, use_rslora = false;
  // In place of the list, if not empty: a regular expression for the whole path, or kAllLinear.
  std::string target_pattern;
  std::vector<std::string> exclude_modules;  // layers that are not meant after all, likewise
  std::string exclude_pattern;
  // Limits the layers that the list names by their end to these numbers (none: all). The number follows one of
  // layers_pattern, regular expressions (none: the first number behind two names).
  std::vector<int> layers_to_transform;
  std::vector<std::string> layers_pattern;
  // Other ranks and alphas for some layers: the first entry that fits.
  std::vector<PatternEntry<int>> rank_pattern;
  std::vector<PatternEntry<double>> alpha_pattern;
  // The one spelling in which everything above calls the layers: what only fits another one is without effect.
  Spelling spelling = Spelling::official;
  const TensorNames* names = &kPlainNames;  // of the model

  bool targets(const std::string& path) const;
  int rank_of(const std::string& path) const;
  double alpha_of(const std::string& path) const;
  double scale_of(const std::string& path) const;

  // What has no effect on the `adapted` of all linear layers, for the user:
  // rank_pattern "layers.9.q_proj" fits no layer of the adapter.
  std::vector<std::string> dead_entries(const std::vector<std::string>& adapted,
                                        const std::vector<std::string>& all) const;
  // What PEFT reads as the same adapters on the `adapted` of all linear layers when they are spelled so: as it is, or
  // with every layer named.
  LoraConfig written_for(const std::vector<std::string>& adapted, const std::vector<std::string>& all,
                         Spelling spelling) const;

 private:
  std::string spelled(const std::string& path) const { return vlm2vec::spelled(path, spelling, *names); }
};

}  // namespace vlm2vec
