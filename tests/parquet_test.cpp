// Parquet: every writer's variant gives the rows of its JSON twin; what cannot be read is refused in one sentence.
#include "tensor/io/parquet/parquet.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <zlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "allocations.h"
#include "damage.h"
#include "expect_error.h"
#include "golden.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/row_files.h"
#include "parquet_writer.h"
#include "temporary_folder.h"
#include "tensor/io/archive.h"
#include "tensor/io/base64.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"
#include "tensor/io/parquet/logical.h"

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

class MadeParquet : public testing::Test {
 protected:
  Rows read(const std::string& bytes, const ParquetFile::Selection& selection = {}) const {
    std::ofstream(file_, std::ios::binary) << bytes;
    return rows_of(file_, selection);
  }
  void refused(const std::string& bytes, const std::string& message) const {
    expect_error(Exit::data, "made.parquet: column c: " + message, [&] { read(bytes); });
  }
  const TemporaryFolder folder_{"parquet"};
  const fs::path file_ = folder_.path() / "made.parquet";
};

using namespace parquet_writer;

TEST_F(MadeParquet, BitPackedLevelsOfOldFiles) {
  const Page page{4, 4, "\xB0" + words({1, 2, 3}), 0, 4};  // levels 1 0 1 1, high bits first
  EXPECT_EQ(read(file({leaf("c", int32, parquet_writer::optional)}, int32, page)),
            (Rows{R"({"c":1})", R"({"c":null})", R"({"c":2})", R"({"c":3})"}));
}

TEST_F(MadeParquet, ListsOfTwoAndThreeLevelsAndMaps) {
  // [1, 2], [], null, [3]: repetition levels 0 1 0 0 0, definition levels 2 2 1 0 2, each one group of packed numbers
  const Page page{4, 5, words({2}) + "\x03\x02" + words({3}) + "\x03\x1A\x02" + words({1, 2, 3})};
  const int map = 1, list = 3;
  const auto optional = parquet_writer::optional;
  const Rows numbers = {R"({"c":[1,2]})", R"({"c":[]})", R"({"c":null})", R"({"c":[3]})"};
  const auto objects = [](const std::string& key) {
    const std::string k = "{\"" + key + "\":";
    return Rows{R"({"c":[)" + k + "1}," + k + "2}]}", R"({"c":[]})", R"({"c":null})", R"({"c":[)" + k + "3}]}"};
  };
  const auto rows = [&](const std::vector<Struct>& schema) { return read(file(schema, int32, page)); };
  EXPECT_EQ(rows({group("c", 1, optional, list), leaf("array", int32, repeated)}), numbers);
  EXPECT_EQ(rows({group("c", 1, optional, list), group("list", 1, repeated), leaf("element", int32, required)}),
            numbers);
  EXPECT_EQ(rows({group("c", 1, optional, list), group("bag", 1, repeated), leaf("any", int32, required)}), numbers);
  EXPECT_EQ(rows({group("c", 1, optional, list), group("array", 1, repeated), leaf("a", int32, required)}),
            objects("a"));
  EXPECT_EQ(rows({group("c", 1, optional, list), group("c_tuple", 1, repeated), leaf("a", int32, required)}),
            objects("a"));
  EXPECT_EQ(rows({group("c", 1, optional, map), group("key_value", 1, repeated), leaf("key", int32, required)}),
            objects("key"));
  EXPECT_EQ(rows({group("c", 1, optional), leaf("x", int32, repeated)})[0], R"({"c":{"x":[1,2]}})");
}

TEST_F(MadeParquet, IntegersAreSignedAsTheSchemaSays) {
  const auto value = [&](Type type, int converted, const std::string& body) {
    return read(file({leaf("c", type, required, converted)}, type, {1, 1, body}))[0];
  };
  const int uint_32 = 13, uint_64 = 14, int_8 = 15;
  const uint32_t ones = 0xFFFFFFFF;
  EXPECT_EQ(value(int32, -1, words({ones})), R"({"c":-1})");
  EXPECT_EQ(value(int32, int_8, words({ones})), R"({"c":-1})");
  EXPECT_EQ(value(int32, uint_32, words({ones})), R"({"c":4294967295})");
  EXPECT_EQ(value(int64, -1, words({1, 0x80000000})), R"({"c":-9223372036854775807})");
  EXPECT_EQ(value(int64, uint_64, words({ones, ones})), R"({"c":18446744073709551615})");
  EXPECT_EQ(value(float64, -1, words({0x9999999A, 0x3FB99999})), R"({"c":0.1})");
}

TEST_F(MadeParquet, OtherTypesAreRefusedByName) {
  const auto type_refused = [&](Type type, int converted, const std::string& message) {
    refused(file({leaf("c", type, required, converted)}, type, {1, 1, std::string(16, 'x')}), message);
  };
  type_refused(fixed, -1, "is of type FIXED_LEN_BYTE_ARRAY, which is not read");  // of no length
  type_refused(int32, 10, "is of type TIMESTAMP (INT32), which is not read");
  type_refused(float32, 6, "is of type DATE (FLOAT), which is not read");
  type_refused(int64, 99, "is of type converted type 99 (INT64), which is not read");
  const std::string broken = "\xFF\xD8\xFF";
  refused(file({leaf("c", bytes, required, 0)}, bytes, {1, 1, words({3}) + broken}), "a value is not UTF-8 text");
  refused(file({leaf("c", int32, required)}, int64, {1, 1, words({1, 1})}), "is of type INT64, the schema says INT32");
}

// Older writers mark no texts; a picture's bytes are none even if they could be one.
TEST_F(MadeParquet, BytesWithoutAnAnnotationAreTextIfTheyAreUtf8) {
  const auto one = [&](const std::string& value) {
    return read(file({leaf("c", bytes, required)}, bytes, {1, 1, words({3}) + value}),
                {.binary = ParquetFile::Binary::size})[0];
  };
  EXPECT_EQ(one("\xE5\x9B\xBE"), R"({"c":"图"})");
  EXPECT_EQ(one("\xFF\xD8\xFF"), R"({"c":{"bytes":3}})");
  const std::vector<Struct> picture = {group("c", 2), leaf("bytes", bytes, required), leaf("path", bytes, required)};
  EXPECT_EQ(read(file(picture, bytes, {1, 1, words({3}) + "P1 "}, 1, 2), {.binary = ParquetFile::Binary::base64})[0],
            R"({"c":{"bytes":"UDEg","path":"P1 "}})");
}

// LZ4 as Hadoop frames it, in one and in two blocks, and the bare block of early Arrow.
TEST_F(MadeParquet, TheOldLz4HasFramesOrNone) {
  const auto block = [](const std::string& text) {
    std::string out(100, '\0');
    out.resize(size_t(LZ4_compress_default(text.data(), out.data(), int(text.size()), 100)));
    return out;
  };
  const auto number = [](size_t value) { return std::string(3, '\0') + char(value); };
  const std::string one = words({1, 2, 3, 4}), begin = one.substr(0, 6), end = one.substr(6);
  const auto rows = [&](const std::string& body) {
    Page page{4, 4, body, 0, 3, 5};
    page.size = 16;
    return read(file({leaf("c", int32, required)}, int32, page));
  };
  const Rows expected = {R"({"c":1})", R"({"c":2})", R"({"c":3})", R"({"c":4})"};
  const auto framed = [&](const std::string& text) { return number(block(text).size()) + block(text); };
  EXPECT_EQ(rows(number(16) + framed(one)), expected);
  EXPECT_EQ(rows(number(16) + framed(begin) + framed(end)), expected);
  EXPECT_EQ(rows(number(6) + framed(begin) + number(10) + framed(end)), expected);
  EXPECT_EQ(rows(block(one)), expected);
  EXPECT_THROW(rows(number(16) + framed(begin)), Error);
  EXPECT_THROW(rows(number(15) + framed(one)), Error);
}

TEST_F(MadeParquet, NamesCannotBreakASentence) {
  const Page page{1, 1, std::string(12, 'x')};
  expect_error(Exit::data, "made.parquet: column a b: is of type FIXED_LEN_BYTE_ARRAY",
               [&] { read(file({leaf("a\nb", fixed, required)}, fixed, page)); });
  expect_error(Exit::data, "made.parquet: the name of column 1 is not UTF-8",
               [&] { read(file({leaf("\xFF", int32, required)}, int32, page)); });
  expect_error(Exit::data, "made.parquet: there are two columns c", [&] {
    read(file({leaf("c", int32, required), leaf("c", int32, required)}, int32, page, 2));
  });
}

TEST_F(MadeParquet, ChecksumsAreChecked) {
  Page page{1, 1, words({5})};
  page.checksum = int32_t(crc32_z(0, reinterpret_cast<const uint8_t*>(page.body.data()), 4));
  EXPECT_EQ(read(file({leaf("c", int32, required)}, int32, page)), Rows{R"({"c":5})"});
  *page.checksum ^= 1;
  refused(file({leaf("c", int32, required)}, int32, page), "the checksum of a page is wrong");
}

TEST_F(MadeParquet, ClaimsTakeNoMemory) {
  reset_peak_allocated();
  for (const int codec : {1, 2, 4, 5, 6, 7}) {  // snappy, gzip, brotli, lz4, zstd, raw lz4
    Page page{1, 1, words({0xFFFFFFF7, 7, 0, 1}), 0, 3, codec};
    page.size = INT32_MAX;
    refused(file({leaf("c", int32, required)}, int32, page), "the ");
  }
  // 2^30 nulls in a list: a run of as many repetition levels 1 (the first is 0), and one of definition levels 2
  const std::string run = "\x80\x80\x80\x80\x08";
  const Page nulls{1, 1 << 30, words({8}) + "\x02" + std::string(1, 0) + run + "\x01" + words({6}) + run + "\x02"};
  const auto optional = parquet_writer::optional;
  const std::string made =
      file({group("c", 1, optional, 3), group("list", 1, repeated), leaf("element", int32, optional)}, int32, nulls);
  expect_error(Exit::data, "column c.list.element: a row has more than 1048576 items", [&] { read(made); });
  if (allocations_are_counted) {
    EXPECT_LT(peak_allocated(), 64 << 20);
  }
}

TEST_F(MadeParquet, RowsThatTheColumnsDoNotHaveAreRefused) {
  const std::vector<Struct> schema = {leaf("c", int32, required)};
  refused(file(schema, int32, {2, 1, words({1})}), "has fewer rows than its row group");
  refused(file(schema, int32, {1, 2, words({1, 2})}), "has more rows than its row group");
  refused(file(schema, int32, {2, 2, words({1})}), "the data end early");
}

TEST(RowFiles, ShardsComeInOrderAndMustBeComplete) {
  const TemporaryFolder folder("row-files");
  const auto shard = [&](const std::string& name, uint32_t value) {
    write_text(folder / name, file({leaf("c", int32, required)}, int32, {1, 1, words({value})}));
  };
  const auto rows = [&](int64_t limit) {
    Rows found;
    read_rows(
        folder / "original.jsonl", {}, [&](const Json& row) { found.push_back(row.dump()); }, limit);
    return found;
  };
  shard("original-00001-of-00002.parquet", 2);
  expect_error(Exit::data, "does not belong to one complete set of shards", [&] { rows(0); });
  shard("original-00001-of-00002-ab.parquet", 9);  // as many as their names say, but twice the same
  expect_error(Exit::data, "does not belong to one complete set of shards", [&] { rows(0); });
  std::filesystem::remove(folder / "original-00001-of-00002-ab.parquet");
  shard("original-00000-of-00002.parquet", 1);
  shard("diverse_instruction-00000-of-00001.parquet", 3);
  EXPECT_EQ(rows(0), (Rows{R"({"c":1})", R"({"c":2})"}));
  EXPECT_EQ(rows(1), Rows{R"({"c":1})"});
  write_text(folder / "original.jsonl", "{\"c\": 4}\n");
  EXPECT_EQ(rows(0), Rows{R"({"c":4})"});
  expect_error(Exit::data, "test.jsonl: no such file", [&] { read_eval_rows(folder / "test.jsonl"); });
}

}  // namespace
}  // namespace vlm2vec
