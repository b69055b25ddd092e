// Rewrites configuration files so that transformers 4 and 5 read them alike. Text that needs no change stays.
#pragma once
#include <string>

namespace vlm2vec {

// config.json: moves text_config's fields to the top, replaces rope_parameters by rope_theta and rope_scaling, and adds
// torch_dtype beside dtype.
std::string portable_config(const std::string& text);

// tokenizer_config.json: renames a list of extra_special_tokens, which 4 takes for a dictionary, to
// additional_special_tokens, and replaces the class that only 5 has.
std::string portable_tokenizer_config(const std::string& text, const std::string& tokenizer_class);

}  // namespace vlm2vec
