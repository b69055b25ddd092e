#include "mmeb/parquet/metadata.h"

#include <algorithm>

#include "mmeb/parquet/thrift.h"

namespace vlm2vec::parquet {
namespace {

using Type = Thrift::Type;
constexpr int64_t kPageLimit = INT32_MAX;

// One of the first `count` values of an enum.
template <class Enum>
Enum choice(Thrift& thrift, Type type, int count, const char* what) {
  const int64_t value = thrift.integer(type);
  if (value >= count) fail(Exit::data, what, " number ", value, " is not known");
  return Enum(value);
}

struct Meaning {
  Annotation annotation;
  std::string name;
};

Meaning converted_type(int64_t code) {
  static const char* const names[] = {"UTF8",
                                      "MAP",
                                      "MAP_KEY_VALUE",
                                      "LIST",
                                      "ENUM",
                                      "DECIMAL",
                                      "DATE",
                                      "TIME_MILLIS",
                                      "TIME_MICROS",
                                      "TIMESTAMP_MILLIS",
                                      "TIMESTAMP_MICROS"};
  if (code == 0 || code == 4 || code == 19) return {Annotation::text, ""};  // UTF8, ENUM, JSON
  if (code == 1 || code == 2) return {Annotation::map, ""};
  if (code == 3) return {Annotation::list, ""};
  if (code >= 11 && code <= 14) return {Annotation::unsigned_int, ""};
  if (code >= 15 && code <= 18) return {Annotation::signed_int, ""};
  if (code < 11) return {Annotation::other, names[code]};
  return {Annotation::other, code == 20 ? "BSON" : code == 21 ? "INTERVAL" : sentence("converted type ", code)};
}

// A union: the number of its one field says which.
Meaning logical_type(Thrift& thrift, Type type) {
  Meaning meaning{Annotation::none, ""};
  thrift.fields(type, [&](int64_t number, Type field) {
    static const char* const names[] = {"",     "STRING", "MAP",       "LIST",           "ENUM",    "DECIMAL",
                                        "DATE", "TIME",   "TIMESTAMP", "logical type 9", "INTEGER", "NULL",
                                        "JSON", "BSON",   "UUID",      "FLOAT16"};
    if (number == 10) {
      meaning = {Annotation::signed_int, ""};
      thrift.fields(field, [&](int64_t part, Type t) {
        if (part != 2) thrift.skip(t);
        else if (!thrift.boolean(t)) meaning.annotation = Annotation::unsigned_int;
      });
      return;
    }
    thrift.skip(field);
    if (number == 1 || number == 4 || number == 12) meaning = {Annotation::text, ""};
    else if (number == 2) meaning = {Annotation::map, ""};
    else if (number == 3) meaning = {Annotation::list, ""};
    else if (number == 11) meaning = {Annotation::none, ""};  // a column of nulls
    else meaning = {Annotation::other, number > 0 && number < 16 ? names[number] : sentence("logical type ", number)};
  });
  return meaning;
}

SchemaElement schema_element(Thrift& thrift, Type type) {
  SchemaElement element;
  bool has_logical_type = false;
  const auto annotate = [&](Meaning meaning) {
    element.annotation = meaning.annotation, element.annotation_name = std::move(meaning.name);
  };
  thrift.fields(type, [&](int64_t number, Type field) {
    if (number == 1) element.type = choice<Physical>(thrift, field, 8, "a column's type");
    else if (number == 3) element.repetition = choice<Repetition>(thrift, field, 3, "a column's repetition");
    else if (number == 4) element.name = thrift.text(field);
    else if (number == 5) element.children = thrift.integer(field);
    else if (number == 6 && !has_logical_type) annotate(converted_type(thrift.integer(field)));
    else if (number == 10) annotate(logical_type(thrift, field)), has_logical_type = true;
    else thrift.skip(field);
  });
  if (element.name.empty() && element.children == 0) fail(Exit::data, "a column has no name");
  return element;
}

Chunk column_chunk(Thrift& thrift, Type type, Span file) {
  Chunk chunk;
  int64_t first_page = -1, dictionary = 0, size = -1;
  thrift.fields(type, [&](int64_t number, Type field) {
    if (number == 1) fail(Exit::data, "a column lies in another file; such files are not read");
    if (number != 3) return thrift.skip(field);
    thrift.fields(field, [&](int64_t part, Type t) {
      if (part == 1) chunk.type = choice<Physical>(thrift, t, 8, "a column's type");
      else if (part == 4) chunk.codec = choice<Codec>(thrift, t, 8, "compression");
      else if (part == 5) chunk.values = thrift.integer(t);
      else if (part == 7) size = thrift.integer(t);
      else if (part == 9) first_page = thrift.integer(t);
      else if (part == 11) dictionary = thrift.integer(t);
      else thrift.skip(t);
    });
  });
  if (first_page < 0 || size < 0) fail(Exit::data, "a column has no size or no place");
  if (dictionary > 0) first_page = std::min(first_page, dictionary);
  if (uint64_t(first_page) > file.size() || uint64_t(size) > file.size() - uint64_t(first_page))
    fail(Exit::data, "a column of ", size, " bytes begins at byte ", first_page, " of a file of ", file.size());
  chunk.pages = file.subspan(size_t(first_page), size_t(size));
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
  static const char* const names[] = {"PLAIN",
                                      "1",
                                      "PLAIN_DICTIONARY",
                                      "RLE",
                                      "BIT_PACKED",
                                      "DELTA_BINARY_PACKED",
                                      "DELTA_LENGTH_BYTE_ARRAY",
                                      "DELTA_BYTE_ARRAY",
                                      "RLE_DICTIONARY",
                                      "BYTE_STREAM_SPLIT"};
  return names[int(encoding)];
}

Metadata read_metadata(Span file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (file.size() < 12) fail(Exit::data, file.size(), " bytes are too few for a Parquet file; is it complete?");
  if (text.ends_with("PARE")) fail(Exit::data, "is encrypted; write it without encryption");
  if (!text.ends_with("PAR1"))
    fail(Exit::data, "does not end with PAR1 as Parquet files do; is it one, and is it complete?");
  const uint32_t size = Bytes(file.last(8)).u32();
  if (size > file.size() - 12)
    fail(Exit::data, "the footer claims ", size, " bytes of a file of ", file.size(), "; is the file damaged?");
  try {
    return footer(file.subspan(file.size() - 8 - size, size), file);
  } catch (const Error& e) {
    fail(e.code, "the footer cannot be read: ", e.what());
  }
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
