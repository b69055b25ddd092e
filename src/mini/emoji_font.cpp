#include "mini/emoji_font.h"

#include <iomanip>
#include <utility>

#include "io/error.h"

namespace vlm2vec::mini {
namespace {

std::string hexadecimal(char32_t code_point) {
  std::ostringstream text;
  text << "U+" << std::uppercase << std::hex << std::setw(4) << std::setfill('0') << uint32_t(code_point);
  return text.str();
}

}  // namespace

EmojiFont::EmojiFont(std::string bytes, std::string name) : bytes_(std::move(bytes)), name_(std::move(name)) {
  read_cmap();
  read_bitmap_locations();
}

void EmojiFont::need(size_t at, size_t count) const {
  if (at > bytes_.size() || count > bytes_.size() - at)
    fail(Exit::data, name_, ": needs bytes ", at, " to ", at + count, ", but the file has only ", bytes_.size(),
         "; the font is cut short or damaged, install it again");
}

uint16_t EmojiFont::u16(size_t at) const {
  need(at, 2);
  return uint16_t(uint8_t(bytes_[at]) << 8 | uint8_t(bytes_[at + 1]));
}

uint32_t EmojiFont::u32(size_t at) const { return uint32_t(u16(at)) << 16 | u16(at + 2); }

// Table directory: u16 count at 4, then from byte 12 records of 16 bytes: tag, checksum, offset, length.
size_t EmojiFont::table(const std::string& tag) const {
  for (int i = 0, count = u16(4); i < count; ++i) {
    const size_t record = 12 + 16 * size_t(i), at = u32(record + 8);
    if (bytes_.compare(record, 4, tag) != 0) continue;
    need(at, u32(record + 12));
    return at;
  }
  fail(Exit::data, name_, ": has no table ", tag,
       "; expected a font with bitmap colour pictures (CBDT), as Noto Color Emoji is");
}

// cmap: u16 version, u16 count, then {platform, encoding, u32 offset}. Format 12: u16 format, u16 0, u32 length,
// u32 language, u32 groups, then {first code point, last, first glyph}.
void EmojiFont::read_cmap() {
  const size_t cmap = table("cmap");
  for (int i = 0, count = u16(cmap + 2); i < count; ++i) {
    const size_t sub = cmap + u32(cmap + 8 + 8 * size_t(i));
    if (u16(sub) != 12) continue;
    for (uint32_t g = 0, groups = u32(sub + 12); g < groups; ++g) {
      const size_t at = sub + 16 + 12 * size_t(g);
      groups_.push_back({u32(at), u32(at + 4), u32(at + 8)});
    }
  }
  if (groups_.empty()) fail(Exit::data, name_, ": its cmap has no subtable of format 12");
}

// CBLC: version, u32 sizes, then per size u32 offset of the subtable array, u32 bytes and u32 count of the array … The
// array holds {u16 first glyph, u16 last, u32 offset from the array}. A subtable of format 1 is {u16 1, u16 image
// format, u32 offset into CBDT, u32 offsets[last - first + 2]}. Only the first size is read (Noto has one).
void EmojiFont::read_bitmap_locations() {
  const size_t cblc = table("CBLC"), cbdt = table("CBDT");
  if (u32(cblc + 4) == 0) fail(Exit::data, name_, ": its CBLC lists no bitmap size");
  const size_t array = cblc + u32(cblc + 8);
  for (uint32_t i = 0, count = u32(cblc + 16); i < count; ++i) {
    const size_t record = array + 8 * size_t(i), sub = array + u32(record + 4);
    const int index_format = u16(sub), image_format = u16(sub + 2);
    if (index_format != 1 || image_format != 17)
      fail(Exit::data, name_, ": CBLC index format ", index_format, " with image format ", image_format,
           "; expected 1 with 17 (PNG)");
    pictures_.push_back({u16(record), u16(record + 2), sub + 8, cbdt + u32(sub + 4)});
  }
}

int EmojiFont::glyph(char32_t code_point) const {
  for (const Group& g : groups_)
    if (g.first <= code_point && code_point <= g.last) return int(g.glyph + (code_point - g.first));
  return 0;
}

// Image format 17: five bytes of metrics, u32 length, the PNG file.
std::span<const uint8_t> EmojiFont::png(char32_t code_point) const {
  const uint32_t id = uint32_t(glyph(code_point));
  for (const Pictures& p : pictures_) {
    if (id == 0 || id < p.first || id > p.last) continue;
    const size_t entry = p.offsets + 4 * size_t(id - p.first), begin = u32(entry), end = u32(entry + 4);
    if (begin == end) break;
    const size_t at = p.data + begin + 9, length = u32(at - 4);
    need(at, length);
    return {reinterpret_cast<const uint8_t*>(bytes_.data()) + at, length};
  }
  fail(Exit::data, name_, ": has no picture of ", hexadecimal(code_point),
       "; expected Noto Color Emoji 2.042 or newer");
}

}  // namespace vlm2vec::mini
