#include "mmeb/parquet/parquet.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "mmeb/parquet/column.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

using namespace parquet;
using Json = nlohmann::ordered_json;
using FieldReferences = std::vector<std::reference_wrapper<const Field>>;
constexpr int64_t kMostItems = 1 << 20;  // in the lists of a row: run lengths may claim a billion nulls in five bytes

// Puts rows together from the columns of one row group ("Dremel", section 4.3, but the levels are compared with the
// schema instead of fed to an automaton).
class Assembler {
 public:
  Assembler(const Schema& schema, const RowGroup& group, const FieldReferences& fields)
      : schema_(schema), fields_(fields), columns_(schema.leaves.size()) {
    for (const Field& field : fields)
      for (size_t i = field.first_leaf; i < field.end_leaf; ++i)
        in_column(i, [&] { columns_[i] = std::make_unique<Column>(group.chunks[i], schema.leaves[i]); });
  }

  Json row() {
    items_ = 0;
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
    try {
      call();
    } catch (const Error& e) {
      fail(e.code, "column ", schema_.leaves[leaf].path, ": ", e.what());
    }
  }

  // {name: value_of(field)} of each field. Their names are known to differ, so nobody need look for them.
  template <class Fields, class ValueOf>
  static Json object_of(const Fields& fields, ValueOf&& value_of) {
    Json object = Json::object();
    Json::object_t::Container& members = object.get_ref<Json::object_t&>();
    members.reserve(fields.size());
    for (const Field& field : fields) members.emplace_back(field.name, value_of(field));
    return object;
  }

  // The value of `field`, whose columns stand at its first entry: there the repetition level is `repetition` and the
  // definition level at least `definition`, the field's parent being there.
  Json value(const Field& field, int definition, int repetition) {
    const size_t first = field.first_leaf;
    Column& column = *columns_[first];
    check(first, definition, repetition);
    if (column.definition() < field.definition) return pass(field, repetition), Json();
    if (field.kind == Field::Kind::value) {
      Json result;
      in_column(first, [&] { result = column.value(), column.next(); });
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

  // Goes over the one entry that a null or an empty list has in each of its columns.
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

  const Schema& schema_;
  const FieldReferences& fields_;
  std::vector<std::unique_ptr<Column>> columns_;  // of the leaves that are read
  int64_t items_ = 0;                             // of the row's lists so far
};

}  // namespace

struct ParquetFile::Content {
  std::string name;
  std::shared_ptr<const MappedFile> file;
  Metadata metadata;
  Schema schema;
};

ParquetFile ParquetFile::open(const std::filesystem::path& path) {
  const auto content = std::make_shared<Content>();
  content->name = path.string();
  content->file = MappedFile::open(path);
  try {
    content->metadata = read_metadata(content->file->bytes());
    content->schema = read_schema(content->metadata.schema);
    for (const RowGroup& group : content->metadata.groups)
      if (group.chunks.size() != content->schema.leaves.size())
        fail(Exit::data, "a row group has ", group.chunks.size(), " columns, the schema ",
             content->schema.leaves.size());
  } catch (const Error& e) {
    fail(e.code, path.string(), ": ", e.what());
  }
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
  int64_t number = 0;  // of the next row
  for (const RowGroup& group : content_->metadata.groups) {
    const int64_t group_end = number + group.rows;
    if (group_end <= first || number >= end) {
      number = group_end;
      continue;
    }
    std::optional<Assembler> assembler;
    const auto in_file = [&](auto&& call) {
      try {
        call();
      } catch (const Error& e) {
        fail(e.code, content_->name, ": ", e.what());
      }
    };
    in_file([&] { assembler.emplace(content_->schema, group, fields); });
    for (; number < std::min(end, group_end); ++number) {
      Json object;
      in_file([&] { object = assembler->row(); });
      if (number < first) continue;
      try {
        row(object);
      } catch (const Error& e) {
        fail(e.code, content_->name, ":", number + 1, ": ", e.what());
      }
    }
    if (number == group_end) in_file([&] { assembler->expect_end(); });
  }
}

}  // namespace vlm2vec
