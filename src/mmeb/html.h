// What the pages that the program writes have in common: one file with everything in it, no script, no network.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace vlm2vec {

std::string escape_html(const std::string& text);
std::string base64(std::span<const uint8_t> bytes);  // RFC 4648, with = at the end

// The beginning of a page, up to and with its heading. `style`: CSS beside the shared one.
std::string html_head(const std::string& title, const std::string& style = "");

// The picture, reduced to 240 pixels at its longer side, as an element of the page. What is missing (no `file`) or
// cannot be decoded is a box that says so.
std::string thumbnail(const std::optional<std::filesystem::path>& file);

}  // namespace vlm2vec
