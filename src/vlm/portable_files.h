// Files of configuration as transformers 4 and 5 read them alike. Text that is so already stays as it is.
#pragma once
#include <string>

namespace vlm2vec {

// config.json: the fields of text_config at the top, rope_theta and rope_scaling in place of rope_parameters, and
// torch_dtype beside dtype.
std::string portable_config(const std::string& text);

// tokenizer_config.json: a list of extra_special_tokens, which 4 takes for a dictionary, is additional_special_tokens;
// the class that only 5 has is the one given.
std::string portable_tokenizer_config(const std::string& text, const std::string& tokenizer_class);

}  // namespace vlm2vec
