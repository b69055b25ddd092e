// The colour pictures of an emoji font: an sfnt file, big-endian, in which `cmap` (format 12) leads from a code point
// to a glyph, `CBLC` from a glyph to a place in `CBDT`, and there lies a PNG file (OpenType 1.9). Single code points
// only: what the miniature MMEB draws needs no ligatures.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace vlm2vec::mini {

class EmojiFont {
 public:
  // `bytes` is the whole file, `name` stands in error messages. Errors: Exit::data, if a table is absent, of another
  // format or reaches outside the file.
  EmojiFont(std::string bytes, std::string name);

  int glyph(char32_t code_point) const;                     // 0 if the font has none
  std::span<const uint8_t> png(char32_t code_point) const;  // the PNG file; Exit::data if there is none

 private:
  struct Group {  // consecutive code points with consecutive glyphs
    uint32_t first, last, glyph;
  };
  struct Pictures {  // consecutive glyphs; where their u32 offsets and their pictures lie in the file
    uint32_t first, last;
    size_t offsets, data;
  };

  size_t table(const std::string& tag) const;
  uint16_t u16(size_t at) const;
  uint32_t u32(size_t at) const;
  void need(size_t at, size_t count) const;
  void read_cmap();
  void read_bitmap_locations();

  std::string bytes_, name_;
  std::vector<Group> groups_;
  std::vector<Pictures> pictures_;
};

}  // namespace vlm2vec::mini
