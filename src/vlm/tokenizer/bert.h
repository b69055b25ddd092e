// BERT's text (Devlin et al. 2019) as Hugging Face's tokenizers have it: BertNormalizer and BertPreTokenizer.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

struct BertText {
  bool clean_text = true;            // control characters go, white space becomes blanks
  bool handle_chinese_chars = true;  // blanks around each
  bool strip_accents = true;         // marks go
  bool lowercase = true;
  std::string normalized(std::string_view text) const;
};

// Appends the words between white space; a punctuation mark is a word of its own.
void split_bert_words_into(std::string_view text, std::vector<std::string_view>& words);

}  // namespace vlm2vec
