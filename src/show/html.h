// Shared parts of the program's pages. A page is one file that needs no script and no network.
#pragma once
#include <optional>
#include <string>

#include "vlm/image/picture_source.h"

namespace vlm2vec {

std::string escape_html(const std::string& text);

// Returns the beginning of a page up to its heading. `style` adds CSS to the shared one.
std::string html_head(const std::string& title, const std::string& style = "");

// A picture as the `src` of an element: WebP, lossless up to 96 pixels, where blurred edges would show.
struct PictureData {
  std::string uri;  // data:image/webp;base64,…
  int width, height;
};
// Reduces a picture to at most `longest` pixels at its longer side. Exit::data if it cannot be decoded.
PictureData picture_data(const PictureSource& source, int longest);

// Returns an element with the picture, reduced to 240 pixels at its longer side. A box replaces a picture that is
// missing (no `source`) or cannot be decoded.
std::string thumbnail(const std::optional<PictureSource>& source);

}  // namespace vlm2vec
