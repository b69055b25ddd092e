#include "show/data_preview.h"

#include <algorithm>

#include "io/error.h"
#include "show/html.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

constexpr size_t kNegatives = 4;

const char* const kStyle = R"(  figure.query { max-width: 22rem; }
  figure.positive { outline: 2px solid #2a8; outline-offset: 4px; border-radius: 2px; }
)";

std::string figure(const Side& side, const char* kind, const Pictures& pictures) {
  std::string html = sentence("<figure class=\"", kind, "\">");
  for (const std::string& image : side.images) {
    const auto source = pictures.find(image);
    const std::string name = source && !source->is_file() ? source->name() : one_line(image, 200);
    html += thumbnail(source) + "<br><small>" + escape_html(name) + "</small>";
  }
  return html + "<figcaption>" + escape_html(side.text) + "</figcaption></figure>\n";
}

std::string article(const TrainRow& row, size_t number, const Pictures& pictures) {
  const size_t shown = std::min(row.negatives.size(), kNegatives), others = row.negatives.size() - shown;
  std::string html = sentence("<article><h3>row ", number + 1, "</h3>\n") + figure(row.query, "query", pictures);
  for (const Side& side : row.positives) html += figure(side, "positive", pictures);
  for (size_t n = 0; n < shown; ++n) html += figure(row.negatives[n], "other", pictures);
  if (others > 0) html += sentence("<small>and ", others, " more</small>");
  return html + "</article>\n";
}

}  // namespace

void write_preview(std::ostream& page, const std::vector<DataFolder>& folders, int64_t limit) {
  page << html_head("Data preview", kStyle)
       << "<p>Each row shows its query, then its positives (framed) and its negatives.</p>\n";
  for (const DataFolder& folder : folders)
    for (const DataSet& set : folder.sets) {
      const std::vector<TrainRow> rows = read_data_rows(set, folder.pictures, limit);
      std::vector<std::string> articles(rows.size());
      parallel_each(rows.size(), [&](size_t i) { articles[i] = article(rows[i], i, folder.pictures); });
      page << "<h2>" << escape_html(set.name) << (set.test ? " (test)" : " (train)") << "</h2>\n";
      for (const std::string& html : articles) page << html;
    }
  page << "</html>\n";
}

}  // namespace vlm2vec
