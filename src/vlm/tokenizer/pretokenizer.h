// The split of Qwen2 and Llama-3 into words, and the spelling of bytes as printable characters that tokenizer.json
// uses. Text must be UTF-8; anything else throws Exit::data.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

// Returns the words of `text`, in order and without gaps: the leftmost-first matches of qwen2_split_pattern.
std::vector<std::string_view> split_words(std::string_view text);
// Appended. With most_digits 3: the matches of llama3_split_pattern, whose words have up to three digits.
void split_words_into(std::string_view text, std::vector<std::string_view>& words, int most_digits = 1);

// As in tokenizer.json of Qwen2, and of Llama-3.
inline constexpr std::string_view qwen2_split_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view llama3_split_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// GPT-2's alphabet: byte -> the UTF-8 spelling of one printable character. The 188 printable bytes of Latin-1 stand for
// themselves, the other 68 in order for U+0100, U+0101, ...
const std::array<std::string, 256>& byte_alphabet();

}  // namespace vlm2vec
