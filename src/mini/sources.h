// Source files of the miniature MMEB: two Debian packages, and a third for the optional set.
#pragma once
#include <filesystem>
#include <string>

namespace vlm2vec::mini {

struct Sources {
  std::filesystem::path font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";  // package fonts-noto-color-emoji
  std::filesystem::path names = "/usr/share/unicode/emoji/emoji-test.txt";           // package unicode-data
  std::filesystem::path stamps = "/usr/share/tuxpaint/stamps";  // package tuxpaint-stamps-default, optional
};

// Returns the whole file. Throws Exit::data with the file, its package and the apt command.
std::string read_source(const std::filesystem::path& path, const std::string& package);

}  // namespace vlm2vec::mini
