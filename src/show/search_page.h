// Shows the results of a search as a table for the terminal, as lines of JSON and as a page with pictures.
#pragma once
#include <ostream>
#include <string>
#include <vector>

#include "show/nearest_rows.h"
#include "show/vector_index.h"

namespace vlm2vec {

struct FoundRow {
  Hit hit;
  InputRow row;  // empty if the index does not name its rows
};
struct SearchResult {
  std::string query;                  // the query's prompt, or "row 3 of queries.npy"
  std::vector<PictureSource> images;  // the query's pictures
  std::vector<FoundRow> found;        // best first
};

// `pictures` are those of the index's rows.
std::string search_table(const std::vector<SearchResult>& results, const Pictures& pictures);
std::string search_json(const std::vector<SearchResult>& results);  // one line per hit
void write_search_page(std::ostream& page, const std::vector<SearchResult>& results, const std::string& index,
                       const Pictures& pictures);

}  // namespace vlm2vec
