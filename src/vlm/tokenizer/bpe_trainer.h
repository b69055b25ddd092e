// Learns a byte-level BPE vocabulary from texts (Sennrich et al. 2016). It starts from the 256 bytes; the most frequent
// pair of adjacent tokens becomes a new token, until the vocabulary is full or no pair is left.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"

namespace vlm2vec {

// Ids: the special tokens in their order, the 256 bytes in the order of GPT-2's alphabet, then the learned tokens.
// Texts are normalised (NFC) and split into words as the tokenizer does it, special tokens within them cut out.
// Among equal counts the pair of smaller ids wins, as in Hugging Face's BpeTrainer; equal texts give equal merges.
BpeVocabulary train_bpe(std::span<const std::string> texts, int vocab_size,
                        const std::vector<std::string>& special_tokens = {"<|endoftext|>", "<|image_pad|>"});

}  // namespace vlm2vec
