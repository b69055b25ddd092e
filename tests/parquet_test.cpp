// Parquet: every writer's variant gives the rows of its JSON twin; what cannot be read is refused in one sentence.
#include "io/parquet/parquet.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "damage.h"
#include "expect_error.h"
#include "golden.h"
#include "io/archive.h"
#include "io/base64.h"
#include "io/files.h"
#include "io/json_lines.h"
#include "io/parquet/logical.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/row_files.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Rows = std::vector<std::string>;

Rows rows_of(const fs::path& file, const ParquetFile::Selection& selection = {}) {
  Rows rows;
  const ParquetFile table = ParquetFile::open(file);
  table.read([&](const Json& row) { rows.push_back(row.dump()); }, selection);
  return rows;
}
Rows printed_of(const fs::path& file) {  // bytes in base64
  return rows_of(file, {.binary = ParquetFile::Binary::base64});
}
Rows lines_of(const fs::path& file) {
  Rows rows;
  read_json_lines(file, [&](const Json& row) { rows.push_back(row.dump()); });
  return rows;
}
std::vector<fs::path> parquet_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".parquet") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(GoldenParquet, EveryVariantHasTheSameRows) {
  NEEDS_GOLDEN("mmeb/encodings");
  const Rows expected = lines_of(golden("mmeb/encodings/rows.jsonl"));
  int equal = 0;
  for (const fs::path& file : parquet_files(golden("mmeb/encodings"))) {
    const std::string name = file.stem().string();
    if (name.starts_with("broken_")) continue;
    EXPECT_EQ(rows_of(file), name == "zero_rows" ? Rows() : expected) << name;
    ++equal;
  }
  EXPECT_GE(equal, 30);
}

TEST(GoldenParquet, BrokenFilesAreOneSentence) {
  NEEDS_GOLDEN("mmeb/encodings");
  const Rows expected = lines_of(golden("mmeb/encodings/rows.jsonl"));
  const nlohmann::json broken = read_json(golden("mmeb/encodings/broken.json"));
  EXPECT_GE(broken.size(), 7u);
  for (const auto& [name, outcome] : broken.items()) {
    const fs::path file = golden("mmeb/encodings") / name;
    if (outcome == "read") EXPECT_EQ(rows_of(file), expected) << name;
    else expect_error(Exit::data, name + ": ", [&] { rows_of(file); });
  }
}

// Dates, times, decimals, … in each codec and both kinds of pages; what pyarrow says they are.
TEST(GoldenParquet, EveryTypeIsPrinted) {
  NEEDS_GOLDEN("mmeb/types");
  const Rows types = lines_of(golden("mmeb/types/types.jsonl"));
  int equal = 0;
  for (const fs::path& file : parquet_files(golden("mmeb/types"))) {
    if (!file.stem().string().starts_with("types_")) continue;
    EXPECT_EQ(printed_of(file), types) << file;
    ++equal;
  }
  EXPECT_GE(equal, 13);
  EXPECT_EQ(rows_of(golden("mmeb/types/int96.parquet")), lines_of(golden("mmeb/types/int96.jsonl")));
}

// The rows with the bytes behind each name, in base64.
Json with_bytes(Json row) {
  if (row.is_binary()) {
    const FileBytes value = read_file_or_member(binary_name(row), 1 << 20);
    return base64({value.bytes.data(), value.bytes.size()});
  }
  if (row.is_structured())
    for (Json& part : row) part = with_bytes(part);
  return row;
}

TEST(GoldenParquet, PicturesAreReadByTheirNames) {
  NEEDS_GOLDEN("mmeb/types");
  const Rows expected = lines_of(golden("mmeb/types/pictures.jsonl"));
  for (const char* kind : {"none", "snappy", "page2", "dictionary", "delta"}) {
    SCOPED_TRACE(kind);
    const fs::path file = golden(sentence("mmeb/types/pictures_", kind, ".parquet"));
    std::vector<Json> rows;
    ParquetFile::open(file).read([&](const Json& row) { rows.push_back(row); }, {});
    EXPECT_EQ(printed_of(file), expected);
    ASSERT_EQ(rows.size(), expected.size());
    for (size_t i = rows.size(); i-- > 0;) EXPECT_EQ(with_bytes(rows[i]).dump(), expected[i]);  // in any order
    const std::string name = binary_name(rows[1].at("image").at("bytes"));
    EXPECT_TRUE(name.starts_with(file.string() + "/image.bytes/2@")) << name;
    EXPECT_TRUE(is_file_or_member(name));
    expect_error(Exit::data, name + ": has ", [&] { read_file_or_member(name, 3); });
    expect_error(Exit::data, "value 99 of a page of ",
                 [&] { read_file_or_member(name.substr(0, name.find('+')) + "+99", 1 << 20); });
    EXPECT_FALSE(is_file_or_member(file / "image.bytes/2@999999+0"));
    EXPECT_FALSE(is_file_or_member(file / "image.bytes/2"));
    expect_error(Exit::data, "has no such value", [&] { read_file_or_member(file / "image.bytes/2", 1 << 20); });
  }
}

// Bytes of pages without compression lie in the mapped file.
TEST(GoldenParquet, PicturesAreNotCopied) {
  NEEDS_GOLDEN("mmeb/types");
  const auto bytes_of_two = [](const char* kind) {
    std::vector<const uint8_t*> places;
    const auto look = [&](const Json& row) {
      if (places.size() < 2 && row["plain"].is_binary())
        places.push_back(read_file_or_member(binary_name(row["plain"]), 1 << 20).bytes.data());
    };
    ParquetFile::open(golden(sentence("mmeb/types/pictures_", kind, ".parquet"))).read(look, {{"plain"}});
    return places;
  };
  const auto plain = bytes_of_two("none");
  EXPECT_EQ(plain[1] - plain[0], 24 + 4);  // with the length between them
}

TEST(GoldenParquet, AColumnThatCannotBeReadHarmsNoOther) {
  NEEDS_GOLDEN("mmeb/types");
  const fs::path file = golden("mmeb/types/encrypted_column.parquet");
  EXPECT_EQ(rows_of(file, {{"open"}}), (Rows{R"({"open":1})", R"({"open":2})"}));
  expect_error(Exit::data, "encrypted_column.parquet: column secret: is encrypted; write the file without encryption",
               [&] { rows_of(file); });
}

TEST(GoldenParquet, TrainingNeedsItsOwnColumnsOnly) {
  NEEDS_GOLDEN("mmeb/types");
  const fs::path file = golden("mmeb/types/training_with_more_columns.parquet");
  EXPECT_THROW(rows_of(file), Error);  // one of them is encrypted
  EXPECT_EQ(column_names(file), (Rows{"qry", "qry_image_path", "pos_text", "pos_image_path", "when", "secret"}));
  const auto sets = read_train_sets({{"Set", file, file.parent_path()}});
  ASSERT_EQ(sets.at(0).rows.size(), 2u);
  EXPECT_EQ(sets[0].rows[1].query.text, "two");
}

TEST(GoldenParquet, NestedColumnsEqualTheirJsonTwin) {
  NEEDS_GOLDEN("mmeb/nested");
  EXPECT_EQ(rows_of(golden("mmeb/nested/nested.parquet")), lines_of(golden("mmeb/nested/nested.jsonl")));
}

TEST(GoldenParquet, TrainingAndTestFilesEqualTheirJsonTwins) {
  NEEDS_GOLDEN("mmeb/MMEB-train");
  int files = 0;
  for (const char* folder : {"mmeb/MMEB-train", "mmeb/MMEB-eval"})
    for (const fs::path& file : parquet_files(golden(folder))) {
      const fs::path twin = fs::path(file).replace_extension(".jsonl");
      EXPECT_EQ(rows_of(file), lines_of(twin)) << file;
      if (file.string().find("MMEB-train") != std::string::npos) {
        const auto rows = read_train_rows(file), expected = read_train_rows(twin);
        ASSERT_EQ(rows.size(), expected.size());
        for (size_t i = 0; i < rows.size(); ++i)
          EXPECT_TRUE(rows[i].query == expected[i].query && rows[i].positives == expected[i].positives) << file << i;
      } else {
        const auto rows = read_eval_rows(file), expected = read_eval_rows(twin);
        ASSERT_EQ(rows.size(), expected.size());
        for (size_t i = 0; i < rows.size(); ++i)
          EXPECT_TRUE(rows[i].query == expected[i].query && rows[i].candidates == expected[i].candidates) << file << i;
      }
      ++files;
    }
  EXPECT_GE(files, 13);
}

TEST(GoldenParquet, SubsetsAreFoundAsTheHubNamesThem) {
  NEEDS_GOLDEN("mmeb/MMEB-train");
  const fs::path train = golden("mmeb/MMEB-train");
  const auto names = list_subsets(train, "original.jsonl", {});
  EXPECT_EQ(names, list_subsets(golden("mmeb/MMEB-eval"), "test.jsonl", {}));
  EXPECT_EQ(std::count(names.begin(), names.end(), "images"), 0);
  auto sources = train_folder(train, {"VOC2007"});
  sources.at(0).limit = 5;
  const auto sets = read_train_sets(sources);
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0].rows.size(), 5u);
  EXPECT_EQ(read_eval_rows(golden("mmeb/MMEB-eval/VOC2007/test.jsonl")).size(),
            lines_of(golden("mmeb/MMEB-eval/VOC2007/test-00000-of-00001.jsonl")).size());
}

TEST(GoldenParquet, ColumnsAndRowsCanBeChosen) {
  NEEDS_GOLDEN("mmeb/encodings");
  const fs::path file = golden("mmeb/encodings/row_groups_of_5.parquet");
  const Rows all = rows_of(file);
  EXPECT_EQ(rows_of(file, {{}, 7, 6}), Rows(all.begin() + 7, all.begin() + 13));
  EXPECT_EQ(rows_of(file, {{}, 36, 100}), Rows(all.begin() + 36, all.end()));
  EXPECT_EQ(rows_of(file, {{}, 0, 0}), Rows());
  EXPECT_EQ(rows_of(file, {{"flag", "id", "no such"}, 1, 1}), Rows{R"({"id":1,"flag":false})"});
  EXPECT_EQ(ParquetFile::open(file).columns(), (Rows{"id", "text", "always", "score", "flag", "list"}));
  expect_error(Exit::data, "row_groups_of_5.parquet:1: qry is missing", [&] { read_train_rows(file); });
}

TEST(GoldenParquet, DamagedFilesAreReadOrRefused) {
  NEEDS_GOLDEN("mmeb/encodings");
  const TemporaryFolder folder("parquet-damage");
  for (const char* name : {"encodings/none_dict_page1", "encodings/none_plain_page2", "encodings/snappy_plain_page2",
                           "encodings/gzip_dict_page1", "encodings/zstd_dict_page2", "encodings/tiny_pages",
                           "encodings/delta_strings_and_ints", "encodings/page_index_and_checksum",
                           "encodings/row_groups_of_5", "encodings/unsupported_brotli", "encodings/unsupported_lz4",
                           "nested/nested", "types/types_none_page1", "types/pictures_dictionary"}) {
    const fs::path file = golden(std::string("mmeb/") + name + ".parquet");
    if (!fs::exists(file)) continue;  // nested/ is ours alone
    SCOPED_TRACE(name);
    const Damage counts = damage(read_text(file), 7, [&](const std::string& bytes) {
      std::ofstream(folder / "copy.parquet", std::ios::binary) << bytes;
      ParquetFile::open(folder / "copy.parquet").read([](const Json&) {}, {.binary = ParquetFile::Binary::base64});
    });
    EXPECT_GT(counts.refused, 50);
  }
}

}  // namespace
}  // namespace vlm2vec
