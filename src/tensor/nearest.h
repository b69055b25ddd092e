// What somebody probably meant, for messages about names that are not known.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// Of `words`, the one with the fewest letters inserted, removed or replaced (Levenshtein 1966).
std::string nearest(const std::string& word, const std::vector<std::string>& words);

}  // namespace vlm2vec
