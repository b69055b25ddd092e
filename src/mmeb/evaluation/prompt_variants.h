// Prompt sensitivity: the same queries under other instructions, and the change of the score.
//   FILE: {"<Set>": ["instruction", …], "*": [… for every set not named]}
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace vlm2vec {

using PromptVariants = std::map<std::string, std::vector<std::string>>;
PromptVariants read_prompt_variants(const std::filesystem::path& file);
// Returns the variants of a set, or of "*"; if empty, the set keeps only its own instruction.
std::vector<std::string> variants_of(const PromptVariants& variants, const std::string& set);
// Throws Exit::usage if the file names a set that is not one of `sets`.
void check_variant_sets(const PromptVariants& variants, const std::vector<std::string>& sets);

// Replaces the instruction of a stored query: "<|image_1|>\n" (if it has a picture) + instruction + text. The separator
// before the text stays: white space at the end of either instruction is ignored. If `wanted` contains <|image_1|>, it
// places the picture. Exit::data if the query does not begin with `stored`.
std::string with_instruction(const std::string& query, const std::string& stored, const std::string& wanted);

// Guesses a set's instruction: the longest common beginning of its queries after the image token. It ends with a whole
// word, or is the whole query; it may be empty.
std::string common_instruction(const std::vector<std::string>& queries);

// Accuracies of a set under its variants, percent. deviation: sample deviation (n - 1), 0 for one variant.
struct VariantSummary {
  double mean = 0, deviation = 0, lowest = 0, highest = 0;
};
VariantSummary summarise_variants(const std::vector<double>& accuracies);

}  // namespace vlm2vec
