#include "mmeb/data/data_preview.h"

#include <webp/encode.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/parallel.h"
#include "vlm/image.h"

namespace vlm2vec {
namespace {

constexpr int kThumbnail = 240;  // pixels of the longer side; smaller pictures stay as they are
constexpr size_t kNegatives = 4;

const char* const kHead = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data preview</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
  body { margin: 0 auto; padding: 1rem; max-width: 70rem; }
  article { display: flex; flex-wrap: wrap; gap: .75rem; padding: .75rem 0; border-top: 1px solid #8886; }
  article > h3 { flex-basis: 100%; margin: 0; font-size: .85rem; opacity: .7; }
  figure { flex: 1 1 9rem; min-width: 0; max-width: 15rem; margin: 0; }
  figure.query { max-width: 22rem; }
  figure.positive { outline: 2px solid #2a8; outline-offset: 4px; border-radius: 2px; }
  img { max-width: 100%; height: auto; }
  figcaption { white-space: pre-wrap; overflow-wrap: anywhere; }
  small { opacity: .7; overflow-wrap: anywhere; }
  .fault { color: #c33; }
</style>
)";

// The picture reduced to kThumbnail, as an element of the page.
std::string thumbnail(const std::string& path, const Pictures& pictures) {
  const auto file = pictures.find(path);
  if (!file) return "<p class=\"fault\">missing</p>";
  try {
    Image image = read_rgb(*file);
    const double scale = double(kThumbnail) / std::max(image.width, image.height);
    const auto side = [&](int pixels) { return std::max(1, int(pixels * scale)); };
    if (scale < 1) image = resize(image, {side(image.width), side(image.height)}, Filter::bicubic);
    uint8_t* webp = nullptr;
    const size_t size = WebPEncodeRGB(image.pixels.data(), image.width, image.height, 3 * image.width, 80, &webp);
    const std::string data = base64({webp, size});
    WebPFree(webp);
    if (size == 0) fail(Exit::resources, file->string(), ": cannot be encoded as WebP; is memory short?");
    return sentence("<img loading=\"lazy\" width=\"", image.width, "\" height=\"", image.height,
                    "\" alt=\"\" src=\"data:image/webp;base64,", data, "\">");
  } catch (const Error& e) {
    if (e.code != Exit::data) throw;
    return "<p class=\"fault\">" + escape_html(e.what()) + "</p>";
  }
}

std::string figure(const Side& side, const char* kind, const Pictures& pictures) {
  std::string html = sentence("<figure class=\"", kind, "\">");
  if (!side.image.empty())
    html += thumbnail(side.image, pictures) + "<br><small>" + escape_html(side.image) + "</small>";
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

std::string escape_html(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&') safe += "&amp;";
    else if (c == '<') safe += "&lt;";
    else if (c == '>') safe += "&gt;";
    else if (c == '"') safe += "&quot;";
    else if (c == '\'') safe += "&#39;";
    else safe += c;
  }
  return safe;
}

std::string base64(std::span<const uint8_t> bytes) {
  const char* const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t three = 0;
    for (size_t b = 0; b < 3; ++b) three = three << 8 | (b < count ? bytes[i + b] : 0);
    for (size_t d = 0; d < 4; ++d) text += d <= count ? digits[three >> (18 - 6 * d) & 63] : '=';
  }
  return text;
}

void write_preview(std::ostream& page, const std::vector<DataFolder>& folders, int64_t limit) {
  page << kHead << "<h1>Data preview</h1>\n<p>Each row's query, then its positives, framed, and negatives.</p>\n";
  for (const DataFolder& folder : folders)
    for (const DataSet& set : folder.sets) {
      const std::vector<TrainRow> rows = read_data_rows(set, limit);
      std::vector<std::string> articles(rows.size());
      parallel_for(int64_t(rows.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          articles[size_t(i)] = article(rows[size_t(i)], size_t(i), folder.pictures);
      });
      page << "<h2>" << escape_html(set.name) << (set.test ? " (test)" : " (train)") << "</h2>\n";
      for (const std::string& html : articles) page << html;
    }
  page << "</html>\n";
}

}  // namespace vlm2vec
