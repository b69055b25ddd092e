#include "io/parquet/thrift.h"

namespace vlm2vec::parquet {

Thrift::Type Thrift::type_of(int code) {
  if (code < int(Type::yes) || code > int(Type::record)) fail(Exit::data, "a field has the unknown type ", code);
  return Type(code);
}

void Thrift::expect(Type type, Type expected) {
  if (type != expected) fail(Exit::data, "a field has type ", int(type), ", expected ", int(expected));
}

int64_t Thrift::any_integer(Type type) {
  if (type == Type::i8) return int8_t(bytes_.byte());
  if (type < Type::i16 || type > Type::i64) fail(Exit::data, "a field has type ", int(type), ", expected an integer");
  return bytes_.zigzag();
}

int64_t Thrift::integer(Type type, int64_t most) {
  const int64_t value = any_integer(type);
  if (value < 0 || value > most) fail(Exit::data, "a field is ", value, ", expected 0 to ", most);
  return value;
}

int32_t Thrift::signed32(Type type) { return int32_t(any_integer(type)); }

bool Thrift::boolean(Type type) {
  if (type != Type::yes) expect(type, Type::no);
  return type == Type::yes;
}

std::string_view Thrift::text(Type type) {
  expect(type, Type::binary);
  return as_text(bytes_.take(bytes_.varint()));
}

void Thrift::skip(Type type, bool is_item) {
  switch (type) {
    case Type::yes:
    case Type::no:
      if (is_item) bytes_.byte();  // in a list the value takes a byte, elsewhere it is the type
      return;
    case Type::i8:
      bytes_.byte();
      return;
    case Type::i16:
    case Type::i32:
    case Type::i64:
      bytes_.varint();
      return;
    case Type::real:
      bytes_.take(8);
      return;
    case Type::binary:
      text(type);
      return;
    case Type::list:
    case Type::set:
      items(Type::list, [&](Type item) { skip(item, true); });
      return;
    case Type::record:
      fields([&](int64_t, Type field) { skip(field, false); });
      return;
    case Type::map: {
      Nested nested(depth_);
      const uint64_t count = bytes_.varint();
      const uint8_t types = count > 0 ? bytes_.byte() : 0;
      for (uint64_t i = 0; i < count; ++i) skip(type_of(types >> 4), true), skip(type_of(types & 15), true);
      return;
    }
  }
}

}  // namespace vlm2vec::parquet
