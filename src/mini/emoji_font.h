// Reads the colour pictures of an emoji font (OpenType 1.9), a big-endian sfnt file. `cmap` (format 12) maps a code
// point to a glyph, `CBLC` maps a glyph to a place in `CBDT`, which holds PNG files. Ligatures are not supported: the
// miniature MMEB needs single code points only.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vlm2vec::mini {

class EmojiFont {
 public:
  // `bytes` is the whole file, `name` its name in errors. Throws Exit::data if a table is missing, has another format
  // or reaches outside the file.
  EmojiFont(std::string bytes, std::string name);

  int glyph(char32_t code_point) const;                     // 0 if the font lacks the code point
  std::span<const uint8_t> png(char32_t code_point) const;  // the PNG file; Exit::data if the font has no picture

 private:
  struct Group {  // consecutive code points with consecutive glyphs
    uint32_t first, last, glyph;
  };
  struct Pictures {  // consecutive glyphs; places of their u32 offsets and their pictures in the file
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
