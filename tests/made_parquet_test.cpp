// Parquet files made here, with what no golden file has: old forms, odd types, claims that are not kept.
#include <gtest/gtest.h>
#include <lz4.h>
#include <zlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "allocations.h"
#include "expect_error.h"
#include "io/files.h"
#include "io/parquet/parquet.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/row_files.h"
#include "parquet_writer.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Rows = std::vector<std::string>;

class MadeParquet : public testing::Test {
 protected:
  Rows read(const std::string& bytes, const ParquetFile::Selection& selection = {}) const {
    std::ofstream(file_, std::ios::binary) << bytes;
    Rows rows;
    ParquetFile::open(file_).read([&](const Json& row) { rows.push_back(row.dump()); }, selection);
    return rows;
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
