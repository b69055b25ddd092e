// Prompt sensitivity: the same queries under other instructions, and how far the score moves.
//   FILE: {"<Set>": ["instruction", …], "*": [… of every set that is not named]}
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace vlm2vec {

using PromptVariants = std::map<std::string, std::vector<std::string>>;
PromptVariants read_prompt_variants(const std::filesystem::path& file);
// Those of a set, or of "*"; empty: it keeps its own instruction only.
std::vector<std::string> variants_of(const PromptVariants& variants, const std::string& set);
// Exit::usage for a name in the file that is none of these sets.
void check_variant_sets(const PromptVariants& variants, const std::vector<std::string>& sets);

// A stored query, "<|image_1|>\n" (if it has a picture) + instruction + text, with another instruction. White space at
// the end of either instruction does not belong to it: what separates instruction and text stays. A `wanted` that has
// <|image_1|> itself says where the picture goes. Exit::data if the query does not begin with `stored`.
std::string with_instruction(const std::string& query, const std::string& stored, const std::string& wanted);

// Where no instruction is known: the longest beginning that all queries of a set share, behind the image token; it ends
// with a whole word, or is the whole query. May be empty.
std::string common_instruction(const std::vector<std::string>& queries);

// Accuracies of a set under its variants, percent. deviation: of a sample (n - 1), 0 for one; spread: highest - lowest.
struct VariantSummary {
  double mean = 0, deviation = 0, lowest = 0, highest = 0, spread = 0;
};
VariantSummary summarise_variants(const std::vector<double>& accuracies);

}  // namespace vlm2vec
