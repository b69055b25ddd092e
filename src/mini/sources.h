// The files that the miniature MMEB is made from: two Debian packages, and a third one for the optional set.
#pragma once
#include <filesystem>
#include <string>

namespace vlm2vec::mini {

struct Sources {
  std::filesystem::path font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";  // package fonts-noto-color-emoji
  std::filesystem::path names = "/usr/share/unicode/emoji/emoji-test.txt";           // package unicode-data
  std::filesystem::path stamps = "/usr/share/tuxpaint/stamps";  // package tuxpaint-stamps-default, optional
};

// The whole file. Errors: Exit::data, naming the file, the package that carries it and the apt line.
std::string read_source(const std::filesystem::path& path, const std::string& package);

}  // namespace vlm2vec::mini
