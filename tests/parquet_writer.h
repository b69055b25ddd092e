// Parquet files of one column and one page, for what no writer at hand makes: old forms, wrong numbers, empty claims.
#pragma once
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace vlm2vec::parquet_writer {

// A struct in Thrift's compact protocol.
class Struct {
 public:
  Struct& i32(int id, int64_t value) { return head(id, 5).varint(uint64_t(value << 1) ^ uint64_t(value >> 63)); }
  Struct& i64(int id, int64_t value) { return head(id, 6).varint(uint64_t(value << 1) ^ uint64_t(value >> 63)); }
  Struct& text(int id, const std::string& value) { return head(id, 8).varint(value.size()).raw(value); }
  Struct& record(int id, const Struct& value) { return head(id, 12).raw(value.bytes()); }
  Struct& list(int id, const std::vector<Struct>& items) {
    head(id, 9).raw(std::string(1, char(0xFC))).varint(items.size());
    for (const Struct& item : items) raw(item.bytes());
    return *this;
  }
  std::string bytes() const { return bytes_ + '\0'; }

 private:
  Struct& head(int id, int type) {
    bytes_ += char((id - last_) << 4 | type), last_ = id;
    return *this;
  }
  Struct& varint(uint64_t value) {
    for (; value > 127; value >>= 7) bytes_ += char(value | 128);
    bytes_ += char(value);
    return *this;
  }
  Struct& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }

  std::string bytes_;
  int last_ = 0;
};

enum Type { boolean, int32, int64, int96, float32, float64, bytes, fixed };
enum Repeats { required, optional, repeated };

inline Struct leaf(const std::string& name, Type type, Repeats repeats, int converted = -1) {
  Struct element = Struct().i32(1, type).i32(3, repeats).text(4, name);
  return converted < 0 ? element : element.i32(6, converted);
}
inline Struct group(const std::string& name, int children, Repeats repeats = required, int converted = -1) {
  Struct element = Struct().i32(3, repeats).text(4, name).i32(5, children);
  return converted < 0 ? element : element.i32(6, converted);
}

struct Page {
  int64_t rows = 1, values = 1;
  std::string body;
  int encoding = 0, level_encoding = 3, codec = 0;
  std::optional<int64_t> size = {};  // what it claims to be without compression
  std::optional<int64_t> checksum = {};
};

// `schema` without its root, which has `columns` columns; all `leaves` of it have the same page.
inline std::string file(std::vector<Struct> schema, Type type, const Page& page, int columns = 1, int leaves = 0) {
  const int64_t stored = int64_t(page.body.size());
  Struct header = Struct().i32(1, 0).i32(2, page.size.value_or(stored)).i32(3, stored);
  if (page.checksum) header.i32(4, *page.checksum);
  header.record(
      5, Struct().i32(1, page.values).i32(2, page.encoding).i32(3, page.level_encoding).i32(4, page.level_encoding));
  const std::string pages = header.bytes() + page.body;
  const Struct chunk = Struct().i64(2, 4).record(3, Struct()
                                                        .i32(1, type)
                                                        .i32(4, page.codec)
                                                        .i64(5, page.values)
                                                        .i64(6, stored)
                                                        .i64(7, int64_t(pages.size()))
                                                        .i64(9, 4));
  schema.insert(schema.begin(), group("schema", columns));
  const std::vector<Struct> chunks(size_t(std::max(columns, leaves)), chunk);
  const Struct rows = Struct().list(1, chunks).i64(2, stored).i64(3, page.rows);
  const std::string footer = Struct().i32(1, 2).list(2, schema).i64(3, page.rows).list(4, {rows}).bytes();
  const uint32_t size = uint32_t(footer.size());
  return "PAR1" + pages + footer + std::string(reinterpret_cast<const char*>(&size), 4) + "PAR1";
}

// Numbers of four bytes, low byte first; the length before levels too.
inline std::string words(std::initializer_list<uint32_t> values) {
  std::string text;
  for (const uint32_t value : values) text.append(reinterpret_cast<const char*>(&value), 4);
  return text;
}

}  // namespace vlm2vec::parquet_writer
