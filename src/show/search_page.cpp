#include "show/search_page.h"

#include <nlohmann/json.hpp>

#include "io/text.h"
#include "show/html.h"

namespace vlm2vec {
namespace {

std::string score_text(float score) { return formatted("%.4f", double(score)); }

std::string words_of(const InputRow& row) {
  return row.instruction + (row.instruction.empty() || row.text.empty() ? "" : " ") + row.text;
}

// Returns a picture's name in its row; a short form if the row holds the picture itself.
std::string name_of(const std::string& image, const Pictures& pictures) {
  return image.starts_with("sha256:") ? pictures.locate(image).name() : image;
}

std::string id_of(const InputRow& row) { return row.id.empty() ? "" : "  id " + row.id; }

// Puts the text on one line without trailing blanks.
std::string line_of(const std::string& text) {
  const std::string line = one_line(text, text.npos);
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
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

std::string search_table(const std::vector<SearchResult>& results, const Pictures& pictures) {
  std::string text;
  for (const SearchResult& result : results) {
    std::string query = "query: " + result.query;
    for (const PictureSource& image : result.images) query += "  " + image.name();
    text += (text.empty() ? "" : "\n") + line_of(query) + "rank   score     row\n";
    int rank = 0;
    for (const auto& [hit, row] : result.found) {
      std::string line = formatted("%4d %7.4f %7lld", ++rank, double(hit.score), (long long)hit.row + 1) + id_of(row);
      for (const std::string& image : row.images) line += "  " + name_of(image, pictures);
      text += line_of(line + "  " + words_of(row));
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
      if (!row.id.empty()) line["id"] = nlohmann::ordered_json::parse(row.id);
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
       << "<p>Each query is followed by the rows with the highest scores (cosine), best first.</p>\n";
  for (const SearchResult& result : results) {
    page << "<article>" << figure({result.images.begin(), result.images.end()}, "query", result.query);
    int rank = 0;
    for (const auto& [hit, row] : result.found) {
      std::vector<std::optional<PictureSource>> images;
      for (const std::string& image : row.images) images.push_back(pictures.find(image));
      const std::string title = sentence(++rank, ". ", score_text(hit.score), ", row ", hit.row + 1, id_of(row));
      page << figure(images, title, words_of(row));
    }
    page << "</article>\n";
  }
  page << "</html>\n";
}

}  // namespace vlm2vec
