// The world of the miniature MMEB: 60 things of 20 kinds, and heart, circle and square in 9 colours. If Tux Paint's
// stamps are installed, it has another artist's pictures of some things. The lists in world.cpp are fixed.
#pragma once
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "vlm/image/image.h"

namespace vlm2vec::mini {

inline constexpr std::array<int, 3> sprite_sizes = {32, 30, 28};  // pixels

struct Sources {
  std::filesystem::path font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";  // package fonts-noto-color-emoji
  std::filesystem::path names = "/usr/share/unicode/emoji/emoji-test.txt";           // package unicode-data
  std::filesystem::path stamps = "/usr/share/tuxpaint/stamps";  // package tuxpaint-stamps-default, optional
};

struct Picture {
  std::string name;              // "lion", "red heart"
  std::string kind;              // "animal mammal"; empty for coloured shapes and stamps
  std::array<Image, 3> sprites;  // RGBA, square, one per sprite size
};

extern const std::array<std::string, 9> colours;  // red … white
extern const std::array<std::string, 3> shapes;   // heart, circle, square

struct World {
  // Throws Exit::data if a package's file is missing or damaged. A missing stamps folder is not an error: see
  // without_stamps.
  explicit World(const Sources& sources);

  // All pictures; the lists below index it.
  std::vector<Picture> pictures;
  std::vector<int> seen, unseen;   // the 51 things that training may show, the 9 things it never shows
  std::vector<int> stamps;         // Tux Paint's pictures of seen things; names may repeat
  std::vector<std::string> kinds;  // kinds of all 60 things, sorted
  std::string without_stamps;      // why stamps is empty; else ""

  const std::string& name(int picture) const { return pictures[picture].name; }
  const std::string& kind(int picture) const { return pictures[picture].kind; }
  int shape(int colour, int form) const { return first_shape_ + colour * int(shapes.size()) + form; }
  std::vector<std::string> seen_names() const;
  std::vector<std::string> stamp_names() const;  // sorted, without duplicates

  // A source that was read: file, package and SHA-256 (for the stamps: over the pictures used, in order of path).
  struct Source {
    std::string file, package, sha256;
  };
  std::vector<Source> read;

 private:
  void add_stamps(const std::filesystem::path& folder);
  int first_shape_ = 0;
};

}  // namespace vlm2vec::mini
