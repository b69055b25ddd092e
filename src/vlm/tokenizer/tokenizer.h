// Text to ids, as the tokenizer files of a Hugging Face folder describe it.
//   text -> pieces between added tokens -> normaliser (normalizer.h) -> pieces between added tokens that are
//        "normalized" -> words (splitter.h) -> ids (bpe.h) -> between the post-processor's begin and end
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"
#include "vlm/tokenizer/tokenizer_files.h"

namespace vlm2vec {

// What happens to a text before all else.
enum class TextCleaning {
  none,
  // clean_web_text() (web_text.h); there <start_of_text> and <end_of_text> are tokens, and CLIP's own are words.
  open_clip,
  openai,  // the same with CLIP's own tokens
};

class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.json, merges.txt and tokenizer_config.json.
  static Tokenizer load(const std::filesystem::path& model_dir, TextCleaning cleaning = TextCleaning::none);
  explicit Tokenizer(BpeVocabulary vocabulary);  // with Qwen2's pipeline

  // Added tokens are found in `text` wherever they are spelled out; nothing is put before or after. `text` is UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;

  // Returns encode() between the ids that the file's post-processor puts around every text (CLIP: <|startoftext|> and
  // <|endoftext|>; Qwen2: none), at most max_len in all (0: no limit). A longer text loses its last ids, never its
  // ends. The caller gives the limit (CLIP's processor: 77), not `truncation` or model_max_length of the files.
  std::vector<int32_t> encode_with_ends(std::string_view text, int64_t max_len = 0) const;
  // Cuts what encode_with_ends() returned, or grew from it, to max_len. Returns whether anything was cut. Throws
  // Exit::usage for a limit without room for the ends.
  bool cut(std::vector<int32_t>& ids, int64_t max_len) const;
  const std::vector<int32_t>& begin_ids() const { return parts_.ends.begin; }
  const std::vector<int32_t>& end_ids() const { return parts_.ends.end; }

  int32_t padding_id() const { return parts_.padding; }
  int vocab_size() const { return parts_.vocabulary->size(); }  // largest id + 1
  const std::string& token(int32_t id) const;                  // as the file spells it: bytes in GPT-2's alphabet
  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_added(int32_t id) const;

 private:
  explicit Tokenizer(TokenizerParts parts, TextCleaning cleaning = TextCleaning::none);

  // Added tokens that are matched in one pass.
  struct AddedTokens {
    std::vector<AddedToken> tokens;     // the longest first
    std::array<bool, 256> begins = {};  // whether one of them begins with this byte
    void add(const AddedToken& token);
    const AddedToken* at(std::string_view text) const;
    template <class Piece>  // piece(text between two of them, its place), and their ids go to `ids`
    void split(std::string_view text, std::vector<int32_t>& ids, Piece&& piece) const;
  };

  TokenizerParts parts_;
  TextCleaning cleaning_;
  AddedTokens plain_, normalized_;  // as spelled in the text, and after the normaliser
};

}  // namespace vlm2vec
