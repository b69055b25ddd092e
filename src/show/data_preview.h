// Shows rows as one HTML page with embedded, reduced pictures and no script.
#pragma once
#include <ostream>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// Writes the first `limit` rows of each set: the query, the positive and, for test sets, up to four other candidates.
// A box replaces a picture that is missing or cannot be decoded.
void write_preview(std::ostream& page, const std::vector<DataFolder>& folders, int64_t limit);

}  // namespace vlm2vec
