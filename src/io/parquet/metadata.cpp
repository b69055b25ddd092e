#include "io/parquet/metadata.h"

#include <algorithm>

#include "io/parquet/thrift.h"

namespace vlm2vec::parquet {
namespace {

using Type = Thrift::Type;
constexpr int64_t kPageLimit = INT32_MAX, kMostDigits = 1000;

// Reads one of the first `count` values of an enum.
template <class Enum>
Enum choice(Thrift& thrift, Type type, int count, const char* what) {
  const int64_t value = thrift.integer(type);
  if (value >= count) fail(Exit::data, what, " number ", value, " is not known");
  return Enum(value);
}

// ConvertedType, which LogicalType has replaced.
Meaning converted_type(int64_t code) {
  using A = Annotation;
  static const Meaning meanings[] = {
    {A::text}, {A::map}, {A::map}, {A::list}, {A::text}, {A::decimal, "DECIMAL"}, {A::date, "DATE"},
    {A::time, "TIME", 3}, {A::time, "TIME", 6}, {A::timestamp, "TIMESTAMP", 3, true},
    {A::timestamp, "TIMESTAMP", 6, true}};
  if (code < 11) return meanings[code];
  if (code <= 14) return {A::unsigned_int};
  if (code <= 18) return {A::signed_int};
  if (code == 19) return {A::text};  // JSON
  if (code == 20) return {A::binary};
  if (code == 21) return {A::interval, "INTERVAL"};
  return {A::other, sentence("converted type ", code)};
}

// Returns the number of a union's one field.
int64_t choice_of_union(Thrift& thrift, Type type) {
  int64_t chosen = 0;
  thrift.fields(type, [&](int64_t number, Type field) { chosen = number, thrift.skip(field); });
  return chosen;
}

// Reads a union: the number of its one field is the kind.
Meaning logical_type(Thrift& thrift, Type type) {
  using A = Annotation;
  static const Meaning meanings[] = {{A::other, "logical type 0"},
                                     {A::text},
                                     {A::map},
                                     {A::list},
                                     {A::text},
                                     {A::decimal, "DECIMAL"},
                                     {A::date, "DATE"},
                                     {A::time, "TIME"},
                                     {A::timestamp, "TIMESTAMP"},
                                     {A::other, "logical type 9"},
                                     {A::signed_int},
                                     {A::none},    // a column of nulls
                                     {A::text},    // JSON
                                     {A::binary},  // BSON
                                     {A::uuid, "UUID"},
                                     {A::float16, "FLOAT16"},
                                     {A::none},     // VARIANT, a struct
                                     {A::binary},   // GEOMETRY
                                     {A::binary}};  // GEOGRAPHY
  Meaning meaning;
  thrift.fields(type, [&](int64_t number, Type field) {
    const bool known = number >= 0 && number < int64_t(std::size(meanings));
    meaning = known ? meanings[number] : Meaning{A::other, sentence("logical type ", number)};
    thrift.fields(field, [&](int64_t part, Type t) {
      if (meaning.kind == A::decimal && part == 1) meaning.digits = int(thrift.integer(t, kMostDigits));
      else if ((meaning.kind == A::time || meaning.kind == A::timestamp) && part == 1) meaning.utc = thrift.boolean(t);
      else if ((meaning.kind == A::time || meaning.kind == A::timestamp) && part == 2)
        meaning.digits = int(3 * choice_of_union(thrift, t));  // milli-, micro-, nanoseconds
      else if (number == 10 && part == 2) meaning.kind = thrift.boolean(t) ? A::signed_int : A::unsigned_int;
      else thrift.skip(t);
    });
  });
  return meaning;
}

SchemaElement schema_element(Thrift& thrift, Type type) {
  SchemaElement element;
  bool has_logical_type = false;
  int64_t scale = 0;
  thrift.fields(type, [&](int64_t number, Type field) {
    if (number == 1) element.type = choice<Physical>(thrift, field, 8, "a column's type");
    else if (number == 2) element.width = thrift.integer(field, kPageLimit);
    else if (number == 3) element.repetition = choice<Repetition>(thrift, field, 3, "a column's repetition");
    else if (number == 4) element.name = thrift.text(field);
    else if (number == 5) element.children = thrift.integer(field);
    else if (number == 6 && !has_logical_type) element.meaning = converted_type(thrift.integer(field));
    else if (number == 7) scale = thrift.integer(field, kMostDigits);
    else if (number == 10) element.meaning = logical_type(thrift, field), has_logical_type = true;
    else thrift.skip(field);
  });
  if (element.meaning.kind == Annotation::decimal && !has_logical_type) element.meaning.digits = int(scale);
  if (element.name.empty() && element.children == 0) fail(Exit::data, "a column has no name");
  return element;
}

// A fault of one column is kept, and thrown when that column is read.
Chunk column_chunk(Thrift& thrift, Type type, Span file) {
  Chunk chunk;
  int64_t first_page = -1, dictionary = 0, size = -1;
  thrift.fields(type, [&](int64_t number, Type field) {
    if (number == 1) chunk.fault = "lies in another file; such files are not read";
    if (number == 8) chunk.fault = "is encrypted; write the file without encryption";
    if (number != 3) return thrift.skip(field);
    thrift.fields(field, [&](int64_t part, Type t) {
      if (part == 1) chunk.type = choice<Physical>(thrift, t, 8, "a column's type");
      else if (part == 4) {
        const int64_t codec = thrift.integer(t);
        if (codec < 8) chunk.codec = Codec(codec);
        else chunk.fault = sentence("is compressed with codec ", codec, ", which is not known");
      } else if (part == 5) chunk.values = thrift.integer(t);
      else if (part == 7) size = thrift.integer(t);
      else if (part == 9) first_page = thrift.integer(t);
      else if (part == 11) dictionary = thrift.integer(t);
      else thrift.skip(t);
    });
  });
  if (!chunk.fault.empty()) return chunk;
  if (first_page < 0 || size < 0) fail(Exit::data, "a column has no size or no place");
  if (dictionary > 0) first_page = std::min(first_page, dictionary);
  if (uint64_t(first_page) > file.size() || uint64_t(size) > file.size() - uint64_t(first_page))
    fail(Exit::data, "a column of ", size, " bytes begins at byte ", first_page, " of a file of ", file.size());
  chunk.begin = uint64_t(first_page), chunk.pages = file.subspan(size_t(first_page), size_t(size));
  return chunk;
}

RowGroup row_group(Thrift& thrift, Type type, Span file) {
  RowGroup group;
  bool has_rows = false;
  thrift.fields(type, [&](int64_t number, Type field) {
    if (number == 1) thrift.items(field, [&](Type item) { group.chunks.push_back(column_chunk(thrift, item, file)); });
    else if (number == 3) group.rows = thrift.integer(field), has_rows = true;
    else thrift.skip(field);
  });
  if (!has_rows) fail(Exit::data, "a row group does not say how many rows it has");
  return group;
}

Metadata footer(Span bytes, Span file) {
  Metadata metadata;
  Thrift thrift(bytes);
  thrift.fields([&](int64_t number, Type field) {
    if (number == 2) thrift.items(field, [&](Type item) { metadata.schema.push_back(schema_element(thrift, item)); });
    else if (number == 3) metadata.rows = thrift.integer(field);
    else if (number == 4)
      thrift.items(field, [&](Type item) { metadata.groups.push_back(row_group(thrift, item, file)); });
    else if (number == 5)
      thrift.items(field, [&](Type item) {
        thrift.fields(item, [&](int64_t part, Type t) {
          if (part == 1 && thrift.text(t) == "ARROW:schema") metadata.marks_texts = true;
          else if (part != 1) thrift.skip(t);
        });
      });
    else if (number == 6) metadata.marks_texts |= thrift.text(field).starts_with("parquet-cpp-arrow");
    else thrift.skip(field);
  });
  int64_t rows = 0;
  for (const RowGroup& group : metadata.groups)
    if (__builtin_add_overflow(rows, group.rows, &rows)) rows = -1;
  if (rows != metadata.rows) fail(Exit::data, "the file claims ", metadata.rows, " rows, its row groups have ", rows);
  return metadata;
}

}  // namespace

std::string name_of(Physical type) {
  static const char* const names[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                      "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
  return names[int(type)];
}

std::string name_of(Codec codec) {
  static const char* const names[] = {"none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4"};
  return names[int(codec)];
}

std::string name_of(Encoding encoding) {
  static const char* const names[] = {
      "PLAIN", "1", "PLAIN_DICTIONARY", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY",
      "DELTA_BYTE_ARRAY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};
  return names[int(encoding)];
}

Metadata read_metadata(Span file) {
  const std::string_view text = as_text(file);
  if (file.size() < 12) fail(Exit::data, file.size(), " bytes are too few for a Parquet file; is it complete?");
  if (text.ends_with("PARE")) fail(Exit::data, "is encrypted; write it without encryption");
  if (!text.ends_with("PAR1"))
    fail(Exit::data, "does not end with PAR1 as Parquet files do; is it one, and is it complete?");
  const uint32_t size = Bytes(file.last(8)).u32();
  if (size > file.size() - 12)
    fail(Exit::data, "the footer claims ", size, " bytes of a file of ", file.size(), "; is the file damaged?");
  return naming([&] { return footer(file.subspan(file.size() - 8 - size, size), file); }, "the footer cannot be read");
}

PageHeader read_page_header(Bytes& bytes) {
  PageHeader page;
  Thrift thrift(bytes.rest());
  bool has_content = false;
  const auto encoding = [&](Type type) { return choice<Encoding>(thrift, type, 10, "encoding"); };
  const auto data = [&](int64_t number, Type t) {
    if (number == 1) page.values = thrift.integer(t, kPageLimit), has_content = true;
    else if (number == 2) page.encoding = encoding(t);
    else if (number == 3) page.definition_encoding = encoding(t);
    else if (number == 4) page.repetition_encoding = encoding(t);
    else thrift.skip(t);
  };
  const auto dictionary = [&](int64_t number, Type t) {
    if (number == 1) page.values = thrift.integer(t, kPageLimit), has_content = true;
    else if (number == 2) page.encoding = encoding(t);
    else thrift.skip(t);
  };
  const auto data_v2 = [&](int64_t number, Type t) {
    if (number == 1) page.values = thrift.integer(t, kPageLimit), has_content = true;
    else if (number == 4) page.encoding = encoding(t);
    else if (number == 5) page.definition_size = thrift.integer(t, kPageLimit);
    else if (number == 6) page.repetition_size = thrift.integer(t, kPageLimit);
    else if (number == 7) page.compressed = thrift.boolean(t);
    else thrift.skip(t);
  };
  thrift.fields([&](int64_t number, Type t) {
    if (number == 1) page.kind = choice<PageHeader::Kind>(thrift, t, 4, "a page's type");
    else if (number == 2) page.size = thrift.integer(t, kPageLimit);
    else if (number == 3) page.stored_size = thrift.integer(t, kPageLimit);
    else if (number == 4) page.checksum = uint32_t(thrift.signed32(t));
    else if (number == 5 && page.kind == PageHeader::Kind::data) thrift.fields(t, data);
    else if (number == 7 && page.kind == PageHeader::Kind::dictionary) thrift.fields(t, dictionary);
    else if (number == 8 && page.kind == PageHeader::Kind::data_v2) thrift.fields(t, data_v2);
    else thrift.skip(t);
  });
  if (!has_content && page.kind != PageHeader::Kind::index) fail(Exit::data, "a page does not say what it holds");
  bytes.take(thrift.position());
  return page;
}

}  // namespace vlm2vec::parquet
