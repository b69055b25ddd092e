// What somebody probably meant, for messages about names that are not known.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// The one of `words` that has all parts of `word` (between _ - . / and spaces; "batch_size" of "eval_batch_size"), or
// whose parts `word` has all and few others, or that differs in at most a third of its letters (inserted, removed,
// replaced: Levenshtein 1966). A part also stands for a longer one that begins with it. Empty if none is so near.
std::string nearest(const std::string& word, const std::vector<std::string>& words);

// "; the nearest is X", or "; there are A, B and 4 more" where none is near.
std::string nearest_hint(const std::string& word, const std::vector<std::string>& words);

}  // namespace vlm2vec
