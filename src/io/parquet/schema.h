// The shape of rows: the footer's flat schema as a tree of values, objects and lists with their levels (Melnik et al.,
// "Dremel", 2010). A column stores two levels with each value. The definition level counts the optional and repeated
// fields on its path that are there; the repetition level says at which list a new item began (0: a new row).
#pragma once
#include <string>
#include <vector>

#include "io/parquet/metadata.h"

namespace vlm2vec::parquet {

// A column with values.
struct Leaf {
  std::string path;  // "list.list.element", for sentences
  Physical type = Physical::boolean;
  size_t width = 0;  // bytes of a value; 0: each says its own length
  // text_or_binary: text where the bytes are UTF-8; timestamp96: nanoseconds of a day and the day in 12 bytes.
  enum class Kind {
    boolean,
    int32,
    uint32,
    int64,
    uint64,
    float16,
    float32,
    float64,
    text,
    binary,
    text_or_binary,
    decimal,
    date,
    time,
    timestamp,
    timestamp96,
    interval,
    uuid,
    refused
  } kind = Kind::boolean;
  Meaning meaning;
  std::string type_name;  // "TIMESTAMP (INT64)"
  int most_definition = 0, most_repetition = 0;
};

struct Field {
  enum class Kind { value, object, list } kind = Kind::value;
  std::string name;
  int definition = 0;         // from this level on it is not null
  int item_definition = 0;    // a list: from this level on it has an item
  int item_repetition = 0;    // a list: the level of its second and later items
  std::vector<Field> fields;  // an object's fields, or the one of a list's items
  size_t first_leaf = 0, end_leaf = 0;
};

struct Schema {
  Field root;  // an object
  std::vector<Leaf> leaves;
};

// Reads lists as the format's LogicalTypes.md has them: three levels with any names, and the older ones of two. A map
// is a list of {key, value}; a repeated field outside of any annotation is a list.
// `bytes` in a struct {bytes, path}, as the `datasets` library stores pictures, are never taken for text. Other bytes
// without an annotation may be text unless `marks_texts`.
Schema read_schema(const std::vector<SchemaElement>& elements, bool marks_texts);

}  // namespace vlm2vec::parquet
