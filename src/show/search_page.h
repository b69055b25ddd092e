// What a search found, as a table for the terminal, as lines of JSON and as a page with pictures.
#pragma once
#include <ostream>
#include <string>
#include <vector>

#include "show/nearest_rows.h"
#include "show/vector_index.h"

namespace vlm2vec {

struct FoundRow {
  Hit hit;
  InputRow row;  // empty if the index does not know its rows
};
struct SearchResult {
  std::string query;                  // its prompt, or "row 3 of queries.npy"
  std::vector<PictureSource> images;  // of the query
  std::vector<FoundRow> found;        // best first
};

// `pictures`: of the index's rows.
std::string search_table(const std::vector<SearchResult>& results, const Pictures& pictures);
std::string search_json(const std::vector<SearchResult>& results);  // a line for each hit
void write_search_page(std::ostream& page, const std::vector<SearchResult>& results, const std::string& index,
                       const Pictures& pictures);

}  // namespace vlm2vec
