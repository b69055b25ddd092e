// Suggests the name that the user probably meant, for messages about unknown names.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// Returns the nearest of `words`, or "" if none is near. Parts lie between _ - . / and spaces; a part matches every
// longer part that begins with it. A word is near if it has all parts of `word` ("eval_batch_size" for "batch_size"),
// or if `word` has all of its parts and few more. It is also near if at most a third of its letters differ;
// two neighbours that have changed places count as one (Damerau 1964).
std::string nearest(const std::string& word, const std::vector<std::string>& words);

// Returns "; the nearest is X", or "; there are A, B and 4 more" if no word is near.
std::string nearest_hint(const std::string& word, const std::vector<std::string>& words);

}  // namespace vlm2vec
