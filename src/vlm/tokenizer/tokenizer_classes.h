// What transformers' tokenizer classes add to a model folder's files: the pipeline that belongs to files older than
// tokenizer.json, in its form, and settings of tokenizer_config.json that replace a part of it.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/tokenizer/sentencepiece.h"
#include "vlm/tokenizer/token_lists.h"
#include "vlm/tokenizer/tokenizer_files.h"

namespace vlm2vec {

// Each takes the tokens of `config` and returns a tokenizer.json without its lists. A class other than those that it
// knows is refused by name.
nlohmann::json vocab_and_merges_pipeline(TokenLists& lists, nlohmann::json config);  // of Qwen2 or CLIP
nlohmann::json bert_pipeline(TokenLists& lists, const nlohmann::json& config);
nlohmann::json llama_pipeline(TokenLists& lists, const nlohmann::json& config);

// The merges that transformers makes of SentencePiece's scores.
void take_bpe(TokenLists& lists, const SentencePieceFile& file);

TokenizerParts siglip_parts(const SentencePieceFile& file, const nlohmann::json& config);

// Changes what the classes of Llama and BERT do not take from tokenizer.json; `config` is in `lists` already.
void apply_class(nlohmann::json& root, const TokenLists& lists, const nlohmann::json& config);

}  // namespace vlm2vec
