#include "io/parquet/schema.h"

#include <set>

#include "io/text.h"

namespace vlm2vec::parquet {
namespace {

Leaf::Kind kind_of(const SchemaElement& element, bool marks_texts) {
  using Kind = Leaf::Kind;
  using A = Annotation;
  const A note = element.meaning.kind;
  const Physical type = *element.type;
  const int digits = element.meaning.digits;
  const bool plain = note == A::none, sized = type == Physical::fixed_bytes && element.width > 0;
  const auto bytes_of = [&](int64_t width) { return sized && element.width == width; };
  if (note == A::decimal)
    return type == Physical::int32 || type == Physical::int64 || type == Physical::bytes || sized ? Kind::decimal
                                                                                                  : Kind::refused;
  if (note == A::time || note == A::timestamp) {
    const bool fits = type == Physical::int64 ? digits == 3 || digits == 6 || digits == 9
                                              : type == Physical::int32 && digits == 3 && note == A::time;
    return !fits ? Kind::refused : note == A::time ? Kind::time : Kind::timestamp;
  }
  switch (type) {
    case Physical::boolean:
      return plain ? Kind::boolean : Kind::refused;
    case Physical::int32:
      if (note == A::date) return Kind::date;
      return plain || note == A::signed_int ? Kind::int32 : note == A::unsigned_int ? Kind::uint32 : Kind::refused;
    case Physical::int64:
      return plain || note == A::signed_int ? Kind::int64 : note == A::unsigned_int ? Kind::uint64 : Kind::refused;
    case Physical::int96:
      return plain ? Kind::timestamp96 : Kind::refused;
    case Physical::float32:
      return plain ? Kind::float32 : Kind::refused;
    case Physical::float64:
      return plain ? Kind::float64 : Kind::refused;
    case Physical::bytes:
      if (note == A::text) return Kind::text;
      if (note == A::binary || (plain && marks_texts)) return Kind::binary;
      return plain ? Kind::text_or_binary : Kind::refused;
    case Physical::fixed_bytes:
      if (note == A::uuid) return bytes_of(16) ? Kind::uuid : Kind::refused;
      if (note == A::float16) return bytes_of(2) ? Kind::float16 : Kind::refused;
      if (note == A::interval) return bytes_of(12) ? Kind::interval : Kind::refused;
      return plain && sized ? Kind::binary : Kind::refused;
  }
  return Kind::refused;
}

size_t width_of(const SchemaElement& element) {
  switch (*element.type) {
    case Physical::boolean:
    case Physical::bytes:
      return 0;
    case Physical::int32:
    case Physical::float32:
      return 4;
    case Physical::int96:
      return 12;
    case Physical::fixed_bytes:
      return size_t(element.width);
    default:
      return 8;
  }
}

class Builder {
 public:
  Builder(const std::vector<SchemaElement>& elements, bool marks_texts)
      : elements_(elements), marks_texts_(marks_texts) {}

  Schema build() {
    const SchemaElement& root = next();
    if (root.type || root.children == 0) fail(Exit::data, "the file has no columns");
    schema_.root = content(root, 0, 0, "");
    if (position_ != elements_.size())
      fail(Exit::data, "the schema has ", elements_.size() - position_, " loose columns");
    return std::move(schema_);
  }

 private:
  const SchemaElement& next() {
    if (position_ >= elements_.size()) fail(Exit::data, "the schema misses columns");
    const SchemaElement& element = elements_[position_++];
    if (!is_utf8(element.name)) fail(Exit::data, "the name of column ", position_ - 1, " is not UTF-8");
    return element;
  }
  bool next_is_repeated() const {
    return position_ < elements_.size() && elements_[position_].repetition == Repetition::repeated;
  }

  // Reads the next element below levels `definition` and `repetition`; `path` is its parent's, with a dot at the end.
  Field field(int definition, int repetition, const std::string& path) {
    const SchemaElement& element = next();
    if (element.repetition != Repetition::repeated)
      return content(element, definition + (element.repetition == Repetition::optional), repetition, path);
    return list_of(element.name, definition, repetition, [&](int d, int r) { return content(element, d, r, path); });
  }

  // Reads an element that is there at level `definition`: its value, its fields or its items.
  Field content(const SchemaElement& element, int definition, int repetition, const std::string& path) {
    const Nested nested(depth_);
    const std::string below = depth_ == 1 ? "" : path + element.name + ".";  // the root's name is of no interest
    if (element.type) return value(element, definition, repetition, path);
    if (element.children == 0) fail(Exit::data, "the column ", one_line(path + element.name), " has no fields");
    const bool annotated = element.meaning.kind == Annotation::list || element.meaning.kind == Annotation::map;
    if (annotated && element.children == 1 && next_is_repeated())
      return annotated_list(element, definition, repetition, below);
    Field object{Field::Kind::object, element.name, definition, 0, 0, {}, schema_.leaves.size(), 0};
    std::set<std::string> names;
    for (int64_t i = 0; i < element.children; ++i) {
      object.fields.push_back(field(definition, repetition, below));
      if (!names.insert(object.fields.back().name).second)
        fail(Exit::data, "there are two columns ", one_line(below + object.fields.back().name));
    }
    object.end_leaf = schema_.leaves.size();
    if (names == std::set<std::string>{"bytes", "path"})
      for (const Field& part : object.fields)
        if (Leaf& leaf = schema_.leaves[part.first_leaf];
            part.name == "bytes" && leaf.kind == Leaf::Kind::text_or_binary)
          leaf.kind = Leaf::Kind::binary;
    return object;
  }

  // The repeated element is a layer of its own around the item or, in older files, the item itself.
  Field annotated_list(const SchemaElement& list, int definition, int repetition, const std::string& path) {
    const SchemaElement& repeated = next();
    const bool is_layer = list.meaning.kind == Annotation::list && !repeated.type && repeated.children == 1 &&
                          !next_is_repeated() && repeated.name != "array" && repeated.name != list.name + "_tuple";
    return list_of(list.name, definition, repetition, [&](int d, int r) {
      return is_layer ? field(d, r, path + repeated.name + ".") : content(repeated, d, r, path);
    });
  }

  template <class Item>
  Field list_of(const std::string& name, int definition, int repetition, Item&& item) {
    Field list{Field::Kind::list, name, definition, definition + 1, repetition + 1, {}, schema_.leaves.size(), 0};
    list.fields.push_back(item(definition + 1, repetition + 1));
    list.end_leaf = schema_.leaves.size();
    return list;
  }

  Field value(const SchemaElement& element, int definition, int repetition, const std::string& path) {
    const std::string type = name_of(*element.type), &meant = element.meaning.name;
    const size_t index = schema_.leaves.size();
    schema_.leaves.push_back({one_line(path + element.name, std::string::npos), *element.type, width_of(element),
                              kind_of(element, marks_texts_), element.meaning,
                              meant.empty() ? type : meant + " (" + type + ")", definition, repetition});
    return {Field::Kind::value, element.name, definition, 0, 0, {}, index, index + 1};
  }

  const std::vector<SchemaElement>& elements_;
  const bool marks_texts_;
  size_t position_ = 0;
  int depth_ = 0;
  Schema schema_;
};

}  // namespace

Schema read_schema(const std::vector<SchemaElement>& elements, bool marks_texts) {
  return Builder(elements, marks_texts).build();
}

}  // namespace vlm2vec::parquet
