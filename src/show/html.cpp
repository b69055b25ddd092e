#include "show/html.h"

#include <webp/encode.h>

#include <algorithm>

#include "io/base64.h"
#include "io/error.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

constexpr int kThumbnail = 240;  // pixels of the longer side; smaller pictures are not enlarged
constexpr int kLossless = 96;

const char* const kPageStyle = R"(
  :root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
  body { margin: 0 auto; padding: 1rem; max-width: 70rem; }
  article { display: flex; flex-wrap: wrap; gap: .75rem; padding: .75rem 0; border-top: 1px solid #8886; }
  article > h3 { flex-basis: 100%; margin: 0; font-size: .85rem; opacity: .7; }
  figure { flex: 1 1 9rem; min-width: 0; max-width: 15rem; margin: 0; }
  h1 { overflow-wrap: anywhere; }
  img { max-width: 100%; height: auto; }
  figcaption { white-space: pre-wrap; overflow-wrap: anywhere; }
  small { opacity: .7; overflow-wrap: anywhere; }
  .fault { color: #c33; }
)";

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

std::string html_head(const std::string& title, const std::string& style) {
  return R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>)" +
         escape_html(title) + "</title>\n<style>" + kPageStyle + style + "</style>\n<h1>" + escape_html(title) +
         "</h1>\n";
}

PictureData picture_data(const PictureSource& source, int longest) {
  Image image = read_rgb(source);
  const int longer = std::max(image.width, image.height);
  const double scale = double(longest) / longer;
  const auto side = [&](int pixels) { return std::max(1, int(pixels * scale)); };
  if (scale < 1) image = resize(image, {side(image.width), side(image.height)}, Filter::bicubic);
  uint8_t* webp = nullptr;
  const uint8_t* pixels = image.pixels.data();
  const size_t size = longer <= kLossless
                          ? WebPEncodeLosslessRGB(pixels, image.width, image.height, 3 * image.width, &webp)
                          : WebPEncodeRGB(pixels, image.width, image.height, 3 * image.width, 80, &webp);
  const std::string data = base64({webp, size});
  WebPFree(webp);
  if (size == 0) fail(Exit::resources, source.name(), ": cannot be encoded as WebP; there may be too little memory");
  return {"data:image/webp;base64," + data, image.width, image.height};
}

std::string thumbnail(const std::optional<PictureSource>& source) {
  if (!source) return "<p class=\"fault\">missing</p>";
  try {
    const PictureData picture = picture_data(*source, kThumbnail);
    return sentence("<img loading=\"lazy\" width=\"", picture.width, "\" height=\"", picture.height,
                    "\" alt=\"\" src=\"", picture.uri, "\">");
  } catch (const Error& e) {
    if (e.code != Exit::data) throw;
    return "<p class=\"fault\">" + escape_html(e.what()) + "</p>";
  }
}

}  // namespace vlm2vec
