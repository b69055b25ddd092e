#include "mmeb/parquet/schema.h"

#include <set>

namespace vlm2vec::parquet {
namespace {

Leaf::Kind kind_of(const SchemaElement& element) {
  using Kind = Leaf::Kind;
  const Annotation note = element.annotation;
  const bool plain = note == Annotation::none, integer = plain || note == Annotation::signed_int;
  switch (*element.type) {
    case Physical::boolean:
      return plain ? Kind::boolean : Kind::refused;
    case Physical::int32:
      return integer ? Kind::int32 : note == Annotation::unsigned_int ? Kind::uint32 : Kind::refused;
    case Physical::int64:
      return integer ? Kind::int64 : note == Annotation::unsigned_int ? Kind::uint64 : Kind::refused;
    case Physical::float32:
      return plain ? Kind::float32 : Kind::refused;
    case Physical::float64:
      return plain ? Kind::float64 : Kind::refused;
    case Physical::bytes:
      return plain || note == Annotation::text ? Kind::text : Kind::refused;
    default:
      return Kind::refused;
  }
}

class Builder {
 public:
  explicit Builder(const std::vector<SchemaElement>& elements) : elements_(elements) {}

  Schema build() {
    const SchemaElement& root = next();
    if (root.type || root.children == 0) fail(Exit::data, "the file has no columns");
    schema_.root = content(root, 0, 0, "");
    if (position_ != elements_.size())
      fail(Exit::data, "the schema has ", elements_.size() - position_, " loose columns");
    return std::move(schema_);
  }

 private:
  struct Nested {
    explicit Nested(int& depth) : depth(depth) {
      if (++depth > 32) fail(Exit::data, "the columns are nested too deeply");
    }
    ~Nested() { --depth; }
    int& depth;
  };

  const SchemaElement& next() {
    if (position_ >= elements_.size()) fail(Exit::data, "the schema misses columns");
    const SchemaElement& element = elements_[position_++];
    if (!is_utf8(element.name)) fail(Exit::data, "the name of column ", position_ - 1, " is not UTF-8");
    return element;
  }
  bool next_is_repeated() const {
    return position_ < elements_.size() && elements_[position_].repetition == Repetition::repeated;
  }

  // The next element below levels `definition` and `repetition`; `path` is its parent's, with a dot behind.
  Field field(int definition, int repetition, const std::string& path) {
    const SchemaElement& element = next();
    if (element.repetition != Repetition::repeated)
      return content(element, definition + (element.repetition == Repetition::optional), repetition, path);
    return list_of(element.name, definition, repetition, [&](int d, int r) { return content(element, d, r, path); });
  }

  // An element that is there at level `definition`: its value, its fields or its items.
  Field content(const SchemaElement& element, int definition, int repetition, const std::string& path) {
    const Nested nested(depth_);
    const std::string below = depth_ == 1 ? "" : path + element.name + ".";  // the root's name is of no interest
    if (element.type) return value(element, definition, repetition, path);
    if (element.children == 0) fail(Exit::data, "the column ", printable(path + element.name), " has no fields");
    const bool annotated = element.annotation == Annotation::list || element.annotation == Annotation::map;
    if (annotated && element.children == 1 && next_is_repeated())
      return annotated_list(element, definition, repetition, below);
    Field object{Field::Kind::object, element.name, definition, 0, 0, {}, schema_.leaves.size(), 0};
    std::set<std::string> names;
    for (int64_t i = 0; i < element.children; ++i) {
      object.fields.push_back(field(definition, repetition, below));
      if (!names.insert(object.fields.back().name).second)
        fail(Exit::data, "there are two columns ", printable(below + object.fields.back().name));
    }
    object.end_leaf = schema_.leaves.size();
    return object;
  }

  // The repeated element is a layer of its own around the item, or, as older writers have it, the item itself.
  Field annotated_list(const SchemaElement& list, int definition, int repetition, const std::string& path) {
    const SchemaElement& repeated = next();
    const bool is_layer = list.annotation == Annotation::list && !repeated.type && repeated.children == 1 &&
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
    std::string type = name_of(*element.type);
    if (element.annotation == Annotation::other) type = element.annotation_name + " (" + type + ")";
    const size_t index = schema_.leaves.size();
    schema_.leaves.push_back(
        {printable(path + element.name), *element.type, kind_of(element), type, definition, repetition});
    return {Field::Kind::value, element.name, definition, 0, 0, {}, index, index + 1};
  }

  const std::vector<SchemaElement>& elements_;
  size_t position_ = 0;
  int depth_ = 0;
  Schema schema_;
};

}  // namespace

Schema read_schema(const std::vector<SchemaElement>& elements) { return Builder(elements).build(); }

}  // namespace vlm2vec::parquet
