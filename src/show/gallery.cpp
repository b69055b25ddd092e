#include "show/gallery.h"

#include <algorithm>

#include "io/error.h"
#include "show/html.h"

namespace vlm2vec {
namespace {

constexpr int kLongest = 160;  // pixels; larger pictures are reduced
constexpr double kShown = 96;  // smaller pictures are shown up to twice as large, but at most this large

}  // namespace

const Gallery::Entry& Gallery::find(const Pictures& pictures, const std::string& path) {
  const auto file = pictures.find(path);
  const auto [at, is_new] = entries_.try_emplace(file ? file->key() : path);
  Entry& entry = at->second;
  if (!is_new) return entry;
  entry = {int(entries_.size()), 1, 1, "", ""};
  if (!file) {
    entry.fault = path + " is missing";
    return entry;
  }
  try {
    const PictureData picture = picture_data(*file, kLongest);
    entry.uri = picture.uri, entry.width = picture.width, entry.height = picture.height;
  } catch (const Error& e) {
    if (e.code != Exit::data) throw;
    entry.fault = e.what();
  }
  return entry;
}

std::string Gallery::show(const Pictures& pictures, const std::string& path) {
  const Entry& entry = find(pictures, path);
  if (!entry.fault.empty()) return "<p class=\"fault\">" + escape_html(entry.fault) + "</p>";
  const double zoom = std::clamp(kShown / std::max(entry.width, entry.height), 1.0, 2.0);
  return sentence("<svg class=\"picture\" viewBox=\"0 0 ", entry.width, " ", entry.height, "\" width=\"",
                  int(entry.width * zoom), "\" height=\"", int(entry.height * zoom), "\" role=\"img\" aria-label=\"",
                  escape_html(path), "\"><use href=\"#p", entry.number, "\"/></svg>");
}

std::string Gallery::show_in_svg(const Pictures& pictures, const std::string& path, double x, double y, double side) {
  const Entry& entry = find(pictures, path);
  if (!entry.fault.empty())
    return sentence("<text x=\"", x + side / 2, "\" y=\"", y + side / 2, "\" text-anchor=\"middle\">?<title>",
                    escape_html(entry.fault), "</title></text>");
  return sentence("<svg x=\"", x, "\" y=\"", y, "\" width=\"", side, "\" height=\"", side, "\" viewBox=\"0 0 ",
                  entry.width, " ", entry.height, "\"><use href=\"#p", entry.number, "\"/></svg>");
}

std::string Gallery::definitions() const {
  std::string html = "<svg width=\"0\" height=\"0\" aria-hidden=\"true\" style=\"position:absolute\"><defs>\n";
  for (const auto& [file, entry] : entries_)
    if (entry.fault.empty())
      html += sentence("<image id=\"p", entry.number, "\" width=\"", entry.width, "\" height=\"", entry.height,
                       "\" href=\"", entry.uri, "\"/>\n");
  return html + "</defs></svg>\n";
}

}  // namespace vlm2vec
