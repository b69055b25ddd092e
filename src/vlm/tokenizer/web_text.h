// What OpenAI's and OpenCLIP's tokenizers of CLIP do to a text from the web before they split it.
#pragma once
#include <string>
#include <string_view>

namespace vlm2vec {

// As Python's html.unescape: &eacute; &#233; &#xE9; become é, also without a semicolon where HTML allows that.
std::string without_html_entities(std::string_view text);

// Repairs characters as ftfy does (ligatures, wide and curly forms, line ends, control characters; NFC), but not texts
// that were decoded by a wrong code page. Then HTML entities go, twice. A Greek word's last capital sigma becomes ς.
std::string clean_web_text(std::string_view text);

}  // namespace vlm2vec
