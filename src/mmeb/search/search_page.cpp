#include "mmeb/search/search_page.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "mmeb/html.h"

namespace vlm2vec {
namespace {

std::string score_text(float score) {
  char text[16];
  std::snprintf(text, sizeof text, "%.4f", double(score));
  return text;
}

std::string words_of(const InputRow& row) {
  return row.instruction + (row.instruction.empty() || row.text.empty() ? "" : " ") + row.text;
}

// Line breaks as spaces, none at the end.
std::string in_one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string figure(const std::vector<std::optional<PictureSource>>& pictures, const std::string& title,
                   const std::string& text) {
  std::string html = "<figure>";
  for (const auto& picture : pictures) html += thumbnail(picture);
  if (!pictures.empty()) html += "<br>";
  return html + "<small>" + escape_html(title) + "</small><figcaption>" + escape_html(text) +
         "</figcaption></figure>\n";
}

}  // namespace

std::string search_table(const std::vector<SearchResult>& results) {
  std::string text;
  for (const SearchResult& result : results) {
    text += (text.empty() ? "query: " : "\nquery: ") + in_one_line(result.query);
    for (const PictureSource& image : result.images) text += "  " + image.name();
    text += "\nrank   score     row\n";
    int rank = 0;
    for (const auto& [hit, row] : result.found) {
      char line[64];
      std::snprintf(line, sizeof line, "%4d %7s %7lld", ++rank, score_text(hit.score).c_str(), (long long)hit.row + 1);
      text += line;
      for (const std::string& image : row.images) text += "  " + image;
      if (const std::string words = words_of(row); !words.empty()) text += "  " + in_one_line(words);
      text += '\n';
    }
  }
  return text;
}

std::string search_json(const std::vector<SearchResult>& results) {
  std::string lines;
  for (size_t q = 0; q < results.size(); ++q)
    for (size_t rank = 0; rank < results[q].found.size(); ++rank) {
      const auto& [hit, row] = results[q].found[rank];
      nlohmann::ordered_json line = {{"query", q + 1}, {"rank", rank + 1}, {"score", hit.score}, {"row", hit.row + 1}};
      if (!row.text.empty()) line["text"] = row.text;
      if (!row.instruction.empty()) line["instruction"] = row.instruction;
      if (!row.images.empty()) line["image"] = row.images;
      lines += line.dump() + '\n';
    }
  return lines;
}

void write_search_page(std::ostream& page, const std::vector<SearchResult>& results, const std::string& index,
                       const Pictures& pictures) {
  page << html_head("Search in " + index)
       << "<p>Each query, then the rows with the highest scores (cosine), best first.</p>\n";
  for (const SearchResult& result : results) {
    page << "<article>" << figure({result.images.begin(), result.images.end()}, "query", result.query);
    int rank = 0;
    for (const auto& [hit, row] : result.found) {
      std::vector<std::optional<PictureSource>> images;
      for (const std::string& image : row.images) images.push_back(pictures.find(image));
      page << figure(images, sentence(++rank, ". ", score_text(hit.score), ", row ", hit.row + 1), words_of(row));
    }
    page << "</article>\n";
  }
  page << "</html>\n";
}

}  // namespace vlm2vec
