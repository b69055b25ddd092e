// Rows as a person wants to see them: one HTML page with the pictures in it, reduced, and no script.
#pragma once
#include <ostream>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// The first `limit` rows of each set: the query, the positive and, of test sets, up to four other candidates. A picture
// that is missing or cannot be decoded is a box that says so.
void write_preview(std::ostream& page, const std::vector<DataFolder>& folders, int64_t limit);

}  // namespace vlm2vec
