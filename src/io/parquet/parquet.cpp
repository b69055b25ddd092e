#include "io/parquet/parquet.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/base64.h"
#include "io/files.h"
#include "io/parquet/column.h"
#include "io/parquet/logical.h"
#include "io/parquet/pages.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

using namespace parquet;
using Json = nlohmann::ordered_json;
using FieldReferences = std::vector<std::reference_wrapper<const Field>>;
constexpr int64_t kMostItems = 1 << 20;  // in the lists of a row: run lengths may claim a billion nulls in five bytes

// Returns the column as a part of a path, for people: the place behind it says where the value is.
std::string path_part(const Leaf& leaf) {
  std::string part = leaf.path;
  std::replace(part.begin(), part.end(), '/', '_');
  return part == "." || part == ".." ? "_" : part;
}

// "image.bytes/18@4096+17" → {4096, 17}.
std::optional<Place> parse_place(const std::string& value) {
  const size_t slash = value.rfind('/');
  if (slash == value.npos) return {};
  const char *at = value.data() + slash + 1, *const end = value.data() + value.size();
  uint64_t numbers[3];
  for (int i = 0; i < 3; ++i) {
    if (i > 0 && (at == end || *at++ != "@+"[i - 1])) return {};
    const auto [behind, error] = std::from_chars(at, end, numbers[i]);
    if (error != std::errc()) return {};
    at = behind;
  }
  return at == end ? std::optional(Place{numbers[1], numbers[2]}) : std::nullopt;
}

// Puts rows together from the columns of one row group ("Dremel", section 4.3). The levels are compared with the
// schema, not fed to an automaton.
class Assembler {
 public:
  Assembler(const std::string& file, const Schema& schema, const RowGroup& group, const FieldReferences& fields,
            ParquetFile::Binary binary)
      : file_(file), schema_(schema), fields_(fields), binary_(binary), columns_(schema.leaves.size()) {
    for (const Field& field : fields)
      for (size_t i = field.first_leaf; i < field.end_leaf; ++i)
        in_column(i, [&] { columns_[i] = std::make_unique<Column>(group.chunks[i], schema.leaves[i]); });
  }

  Json row(int64_t number) {  // from 0, for names of values
    items_ = 0, number_ = number;
    return object_of(fields_, [&](const Field& field) { return value(field, 0, 0); });
  }

  void expect_end() {
    for (size_t i = 0; i < columns_.size(); ++i)
      in_column(i, [&] {
        if (columns_[i] && !columns_[i]->at_end()) fail(Exit::data, "has more rows than its row group");
      });
  }

 private:
  template <class Call>
  void in_column(size_t leaf, Call&& call) {
    naming(call, "column ", schema_.leaves[leaf].path);
  }

  // Returns {name: value_of(field)} of each field. Their names are known to differ, so they are not looked up.
  template <class Fields, class ValueOf>
  static Json object_of(const Fields& fields, ValueOf&& value_of) {
    Json object = Json::object();
    Json::object_t::Container& members = object.get_ref<Json::object_t&>();
    members.reserve(fields.size());
    for (const Field& field : fields) members.emplace_back(field.name, value_of(field));
    return object;
  }

  // Returns the value of `field`. Its columns stand at its first entry: there the repetition level is `repetition` and
  // the definition level at least `definition`, because the field's parent is there.
  Json value(const Field& field, int definition, int repetition) {
    const size_t first = field.first_leaf;
    Column& column = *columns_[first];
    check(first, definition, repetition);
    if (column.definition() < field.definition) return pass(field, repetition), Json();
    if (field.kind == Field::Kind::value) {
      Json result;
      in_column(first, [&] { result = value_of(column, field.name), column.next(); });
      return result;
    }
    if (field.kind == Field::Kind::object)
      return object_of(field.fields, [&](const Field& part) { return value(part, field.definition, repetition); });
    Json list = Json::array();
    if (column.definition() < field.item_definition) return pass(field, repetition), list;
    do {
      if (++items_ > kMostItems)
        in_column(first, [] { fail(Exit::data, "a row has more than ", kMostItems, " items in lists"); });
      list.push_back(value(field.fields[0], field.item_definition, repetition));
      repetition = field.item_repetition;
    } while (!column.at_end() && column.repetition() >= repetition);
    return list;
  }

  Json value_of(Column& column, const std::string& name) {
    const Leaf::Kind kind = column.leaf().kind;
    if (kind != Leaf::Kind::binary && kind != Leaf::Kind::text_or_binary) return column.value();
    std::string_view bytes;
    if (kind == Leaf::Kind::text_or_binary) {
      bytes = column.bytes();
      if (is_utf8(bytes)) return bytes;
    }
    if (binary_ == ParquetFile::Binary::name) {
      const Place place = column.place();
      const std::string path =
          sentence(file_, '/', path_part(column.leaf()), '/', number_ + 1, '@', place.page, '+', place.index);
      return Json::binary({path.begin(), path.end()});
    }
    if (kind == Leaf::Kind::binary) bytes = column.bytes();
    if (binary_ == ParquetFile::Binary::base64)
      return base64({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return name == "bytes" ? Json(bytes.size()) : Json{{"bytes", bytes.size()}};
  }

  // Skips the one entry that a null or an empty list has in each of its columns.
  void pass(const Field& field, int repetition) {
    const int definition = columns_[field.first_leaf]->definition();
    for (size_t i = field.first_leaf; i < field.end_leaf; ++i) {
      check(i, definition, repetition);
      if (columns_[i]->definition() != definition) disagree(i);
      in_column(i, [&] { columns_[i]->next(); });
    }
  }

  void check(size_t leaf, int definition, int repetition) {
    const Column& column = *columns_[leaf];
    if (column.at_end()) in_column(leaf, [] { fail(Exit::data, "has fewer rows than its row group"); });
    if (column.repetition() != repetition || column.definition() < definition) disagree(leaf);
  }
  void disagree(size_t leaf) {
    in_column(leaf, [] { fail(Exit::data, "its levels do not fit the schema and the columns beside it"); });
  }

  const std::string& file_;
  const Schema& schema_;
  const FieldReferences& fields_;
  const ParquetFile::Binary binary_;
  std::vector<std::unique_ptr<Column>> columns_;  // one for each leaf that is read
  int64_t items_ = 0;                             // items in the row's lists so far
  int64_t number_ = 0;                            // the row's number from 0
};

}  // namespace

struct ParquetFile::Content {
  std::string name;
  std::shared_ptr<const MappedFile> file;
  Metadata metadata;
  Schema schema;

  // The column of bytes that would hold a page at this byte.
  struct Part {
    const Chunk* chunk = nullptr;
    const Leaf* leaf = nullptr;
  };
  Part part_at(uint64_t byte) const {
    for (const RowGroup& group : metadata.groups)
      for (size_t i = 0; i < group.chunks.size(); ++i)
        if (const Chunk& chunk = group.chunks[i];
            has_bytes(schema.leaves[i].type) && byte >= chunk.begin && byte - chunk.begin < chunk.pages.size())
          return {&chunk, &schema.leaves[i]};
    return {};
  }
};

ParquetFile ParquetFile::open(const std::filesystem::path& path) {
  const auto content = std::make_shared<Content>();
  content->name = path.string();
  content->file = MappedFile::open(path);
  const auto read = [&] {
    content->metadata = read_metadata(content->file->bytes());
    content->schema = read_schema(content->metadata.schema, content->metadata.marks_texts);
    for (const RowGroup& group : content->metadata.groups)
      if (group.chunks.size() != content->schema.leaves.size())
        fail(Exit::data, "a row group has ", group.chunks.size(), " columns, the schema ",
             content->schema.leaves.size());
  };
  naming(read, content->name);
  return ParquetFile(content);
}

int64_t ParquetFile::rows() const { return content_->metadata.rows; }

std::vector<std::string> ParquetFile::columns() const {
  std::vector<std::string> names;
  for (const Field& field : content_->schema.root.fields) names.push_back(field.name);
  return names;
}

void ParquetFile::read(const std::function<void(const Json&)>& row, const Selection& selection) const {
  FieldReferences fields;
  const std::vector<std::string>& wanted = selection.columns;
  for (const Field& field : content_->schema.root.fields)
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), field.name) != wanted.end()) fields.push_back(field);

  const int64_t first = selection.first, rows = this->rows();
  const int64_t end = selection.count < 0 || selection.count > rows - first ? rows : first + selection.count;
  int64_t number = 0;  // the next row
  for (const RowGroup& group : content_->metadata.groups) {
    const int64_t group_end = number + group.rows;
    if (group_end <= first || number >= end) {
      number = group_end;
      continue;
    }
    std::optional<Assembler> assembler;
    const auto in_file = [&](auto&& call) { naming(call, content_->name); };
    in_file([&] { assembler.emplace(content_->name, content_->schema, group, fields, selection.binary); });
    for (; number < std::min(end, group_end); ++number) {
      Json object;
      in_file([&] { object = assembler->row(number); });
      if (number < first) continue;
      naming([&] { row(object); }, content_->name, ":", number + 1);
    }
    if (number == group_end) in_file([&] { assembler->expect_end(); });
  }
}

bool ParquetFile::contains(const std::string& value) const {
  const std::optional<Place> place = parse_place(value);
  return place && content_->part_at(place->page).chunk;
}

FileBytes ParquetFile::read_value(const std::string& value, uint64_t most) const {
  const std::string name = content_->name + "/" + value;
  const std::optional<Place> place = parse_place(value);
  const Content::Part part = place ? content_->part_at(place->page) : Content::Part();
  if (!part.chunk) fail(Exit::data, name, ": the file has no such value");
  const auto read = [&]() -> FileBytes {
    const KeptValue found = value_at(content_, *part.chunk, *part.leaf, *place);
    if (found.bytes.size() > most) fail(Exit::data, "has ", found.bytes.size(), " bytes; at most ", most, " are read");
    return {{reinterpret_cast<const uint8_t*>(found.bytes.data()), found.bytes.size()}, found.owner};
  };
  return naming(read, name);
}

std::string binary_name(const Json& value) {
  CHECK(value.is_binary(), "a value that is not binary has no name");
  const auto& bytes = value.get_binary();
  return {bytes.begin(), bytes.end()};
}

}  // namespace vlm2vec
