// A tokenizer as its files describe it: normaliser, splitter, model, post-processor. Each setting is in TokenizerParts
// or refused by name.
#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/splitter.h"
#include "vlm/tokenizer/token_model.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

struct TokenizerParts {
  std::shared_ptr<const Vocabulary> vocabulary;  // the added tokens too
  std::vector<AddedToken> added;
  Normalizer normalizer;
  Splitter splitter;
  std::shared_ptr<const TokenModel> model;
  struct Ends {
    std::vector<int32_t> begin, end;
    bool end_once = false;  // a text that ends with the end gets no other
  } ends;  // the ids that the post-processor puts around a text
  int32_t padding = 0;  // pad_token of tokenizer_config.json, else the end
};

// Reads a folder's tokenizer.json or, without one, the files of its tokenizer_class: vocab.json {token: id} and
// merges.txt (a line per merge) of Qwen2Tokenizer or CLIPTokenizer, tokenizer.model of LlamaTokenizer, vocab.txt (a
// line per token) of BertTokenizer; of SiglipTokenizer always spiece.model, if it is there. Adds the tokens of
// tokenizer_config.json. Throws Exit::data, naming the file.
TokenizerParts read_tokenizer(const std::filesystem::path& folder);

}  // namespace vlm2vec
