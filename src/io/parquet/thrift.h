// Thrift's compact protocol as Parquet's headers use it: a struct is fields of (step of the number, type, value) up to
// a zero byte. Nothing is allocated; a list cannot claim more items than bytes follow.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
#pragma once
#include "io/parquet/bytes.h"

namespace vlm2vec::parquet {

class Thrift {
 public:
  enum class Type { yes = 1, no, i8, i16, i32, i64, real, binary, list, set, map, record };

  explicit Thrift(Span bytes) : bytes_(bytes) {}
  size_t position() const { return bytes_.position(); }

  // Calls field(number, type) for each field of a struct; `field` must read the value or skip it.
  template <class Field>
  void fields(Type type, Field&& field) {
    expect(type, Type::record);
    Nested nested(depth_);
    for (int64_t number = 0;;) {
      const uint8_t head = bytes_.byte();
      if (head == 0) return;
      number = head >> 4 ? number + (head >> 4) : bytes_.zigzag();
      field(number, type_of(head & 15));
    }
  }
  template <class Field>
  void fields(Field&& field) {
    fields(Type::record, field);
  }

  // Calls item(type) for each item of a list; `item` must read it or skip it.
  template <class Item>
  void items(Type type, Item&& item) {
    expect(type, Type::list);
    Nested nested(depth_);
    const uint8_t head = bytes_.byte();
    const uint64_t count = head >> 4 == 15 ? bytes_.varint() : head >> 4;
    if (count > bytes_.left()) fail(Exit::data, "a list claims ", count, " items in ", bytes_.left(), " bytes");
    for (uint64_t i = 0; i < count; ++i) item(type_of(head & 15));
  }

  int64_t integer(Type type, int64_t most = INT64_MAX);  // not negative, at most `most`
  int32_t signed32(Type type);
  bool boolean(Type type);
  std::string_view text(Type type);
  void skip(Type type) { skip(type, false); }

 private:
  static Type type_of(int code);
  static void expect(Type type, Type expected);
  int64_t any_integer(Type type);
  void skip(Type type, bool is_item);

  Bytes bytes_;
  int depth_ = 0;
};

}  // namespace vlm2vec::parquet
