// What the pages that the program writes have in common: one file with everything in it, no script, no network.
#pragma once
#include <optional>
#include <string>

#include "vlm/image/picture_source.h"

namespace vlm2vec {

std::string escape_html(const std::string& text);

// The beginning of a page, up to and with its heading. `style`: CSS beside the shared one.
std::string html_head(const std::string& title, const std::string& style = "");

// A picture in a text, as `src` of an element: WebP, without loss up to 96 pixels, where blurred edges would show.
struct PictureData {
  std::string uri;  // data:image/webp;base64,…
  int width, height;
};
// Reduced to `longest` pixels at its longer side; a smaller one stays as it is. Exit::data if it cannot be decoded.
PictureData picture_data(const PictureSource& source, int longest);

// The picture, reduced to 240 pixels at its longer side, as an element of the page. What is missing (no `source`) or
// cannot be decoded is a box that says so.
std::string thumbnail(const std::optional<PictureSource>& source);

}  // namespace vlm2vec
