// safetensors: what is written is read back, by the format's own rules, and every kind of damage is named.
#include "tensor/tensor_files.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/files.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

class Safetensors : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& header, const std::string& data, int64_t claimed = -1) {
    const auto path = folder_.path() / "model.safetensors";
    const uint64_t length = claimed < 0 ? header.size() : uint64_t(claimed);
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    write_text(path, bytes + header + data);
    return path;
  }
  void expect_damage(const std::string& sentence, const std::string& header, const std::string& data,
                     int64_t claimed = -1) {
    const auto path = write(header, data, claimed);
    expect_error(Exit::data, path.string() + ": " + sentence, [&] { load_safetensors(path); });
  }
  TemporaryFolder folder_{"safetensors"};
};

const std::string kTwo =
    R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
const std::string kData("\0\0\x80\x3f\0\0\0\x40\1\2\3", 11);  // 1, 2; 1, 2, 3

TEST_F(Safetensors, reads_what_others_write) {
  const NamedTensors read = load_safetensors(write(kTwo, kData));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read.at("a").shape(), (Shape{1, 2}));
  EXPECT_EQ(to_vector<float>(read.at("a")), (std::vector<float>{1, 2}));
  EXPECT_EQ(read.at("b").dtype(), DType::u8);
  EXPECT_EQ(static_cast<const uint8_t*>(read.at("b").raw())[2], 3);
  EXPECT_EQ(load_safetensors(write(R"({"__metadata__":{"format":"pt"}}   )", "")).size(), 0u);
  EXPECT_EQ(to_vector<float>(
                load_safetensors(write(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", kData.substr(0, 4)))
                    .at("s")),
            std::vector<float>{1})
      << "a scalar";
}

TEST_F(Safetensors, reads_numbers_that_are_not_aligned) {  // the header ends anywhere
  for (int spaces = 0; spaces < 9; ++spaces) {
    const auto read = load_safetensors(write(kTwo + std::string(size_t(spaces), ' '), kData));
    EXPECT_EQ(to_vector<float>(read.at("a")), (std::vector<float>{1, 2}));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.at("a").raw()) % 4, 0u);
  }
}

TEST_F(Safetensors, writes_what_it_reads) {
  const auto path = folder_.path() / "out.safetensors";
  const Tensor f64 = from_vector(std::vector<double>{1, -2.5, 1e300}, {3});
  const NamedTensors written = {{"x", f64},
                                {"x32", f64.to(DType::f32)},
                                {"half", f64.to(DType::bf16)},
                                {"empty", Tensor({0, 4}, DType::f32, Device::cpu)},
                                {"ids", from_vector(std::vector<int32_t>{7, -7}, {1, 2})},
                                {"long", from_vector(std::vector<int64_t>{int64_t(1) << 60}, {1})},
                                {"a \"name\" with \\ and ü", f64.rows(1, 2)}};
  save_safetensors(path, written);
  const NamedTensors read = load_safetensors(path);
  ASSERT_EQ(read.size(), written.size());
  for (const auto& [name, t] : written) {
    const Tensor& r = read.at(name);
    EXPECT_EQ(r.dtype(), t.dtype()) << name;
    EXPECT_EQ(r.shape(), t.shape()) << name;
    EXPECT_EQ(std::memcmp(r.raw(), t.raw(), size_t(t.bytes())), 0) << name;
  }
  const std::string bytes = read_text(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(nlohmann::json::parse(bytes.substr(8, length)).at("__metadata__").at("format"), "pt");
}

TEST_F(Safetensors, writes_tensors_made_one_by_one) {
  const Tensor x = from_vector(std::vector<float>{1, 2, 3}, {3}), y = x.to(DType::bf16);
  const auto lazy = [](const Tensor& t) { return LazyTensor{t.shape(), t.dtype(), [t] { return t; }}; };
  save_safetensors(folder_ / "at_once", {{"x", x}, {"y", y}});
  stream_safetensors(folder_ / "one_by_one", {{"x", lazy(x)}, {"y", lazy(y)}});
  EXPECT_EQ(read_text(folder_ / "at_once"), read_text(folder_ / "one_by_one"));
  expect_error("x: became f32[3], announced as f32[2]", [&] {
    stream_safetensors(folder_ / "wrong", {{"x", {{2}, DType::f32, [x] { return x; }}}});
  });
  EXPECT_FALSE(std::filesystem::exists(folder_ / "wrong"));
}

TEST_F(Safetensors, keeps_the_file_for_as_long_as_a_tensor_lives) {
  const auto path = write(kTwo, kData);
  const Tensor a = load_safetensors(path).at("a");
  std::filesystem::remove(path);
  EXPECT_EQ(to_vector<float>(a), (std::vector<float>{1, 2}));
}

TEST_F(Safetensors, names_the_damage) {
  const auto entry = [](const std::string& fields) { return R"({"w":{)" + fields + "}}"; };
  write_text(folder_.path() / "short", "1234567");
  expect_error(Exit::data, "7 bytes are too few", [&] { load_safetensors(folder_.path() / "short"); });
  expect_error(Exit::data, "No such file", [&] { load_safetensors(folder_.path() / "missing"); });
  expect_error(Exit::data, "not a file", [&] { load_safetensors(folder_.path()); });
  // The header
  expect_damage("the header claims 1000 bytes (the file has", kTwo, kData, 1000);
  expect_damage("the header claims 9223372036854775807 bytes", kTwo, kData, INT64_MAX);
  expect_damage("the header is not valid JSON near byte", kTwo, kData, int64_t(kTwo.size()) - 1);
  expect_damage("the header does not begin with {; is this a safetensors file?", "<html>", "");
  expect_damage("the header does not begin with {", "[1, 2]", "");
  const auto large = write("{}", "", 100'000'001);
  std::filesystem::resize_file(large, 100'000'009);  // a hole: takes no room
  expect_error(Exit::data, "the header claims 100000001 bytes (the file has 100000009, the limit is 100000000)",
               [&] { load_safetensors(large); });
  expect_damage("the entry of a is not", R"({"a":)" + std::string(100000, '['), "");
  expect_damage("the entry of a is not", R"({"a":{"dtype":)" + std::string(100000, '['), "");
  expect_damage("the entry of a is not", R"({"a":{"shape":[{"b":1}]}})", "");
  std::string ones = "1";
  for (int i = 0; i < 100; ++i) ones += ",1";
  expect_damage("the entry of a is not", R"({"a":{"dtype":"U8","shape":[)" + ones + R"(],"data_offsets":[0,1]}})", "x");
  expect_damage("the header cannot be read", R"({"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}})", "x");
  expect_damage("format of __metadata__ is 1, expected a text", R"({"__metadata__":{"format":1}})", "");
  expect_damage("the entry of __metadata__ is not", R"({"__metadata__":"pt"})", "");
  expect_damage("the header has the key \"dtype\" twice",
                R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
  expect_damage(
      "the header has the key \"a\" twice",
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      "x");
  // Entries
  for (const char* fields :
       {"", R"("dtype":"U8","shape":[1])", R"("dtype":"U8","shape":1,"data_offsets":[0,1])",
        R"("dtype":8,"shape":[1],"data_offsets":[0,1])", R"("dtype":"U8","shape":[1],"data_offsets":[0])",
        R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])", R"("dtype":"U8","shape":[1.5],"data_offsets":[0,1])",
        R"("dtype":"U8","shape":[0,-1],"data_offsets":[0,0])", R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])",
        R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1)",
        R"("dtype":"U8","shape":[1],"data_offsets":[-1,0])"})
    expect_damage("the entry of w is not {dtype, shape, data_offsets}", entry(fields), "x");
  expect_damage("the entry of w is not", R"({"w":[1]})", "");
  for (const std::string type : {"I8", "I16", "BOOL", "F8_E4M3", "F8_E5M2", "Q4"})
    expect_damage("w has type " + type + "; this program reads F32",
                  entry(R"("dtype":")" + type + R"(","shape":[1],"data_offsets":[0,1])"), "x");
  expect_damage("w has an impossible shape [0,18446744073709551615]",
                entry(R"("dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0])"), "");
  expect_damage("w has an impossible shape [4294967296,4294967296]",
                entry(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1])"), "x");
  expect_damage("w has 3 bytes, its shape and type need 4", entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,3])"),
                "xxx");
  expect_damage("w has -1 bytes, its shape and type need 1", entry(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])"),
                "x");
  // Offsets
  expect_damage("w begins at byte 1 of the data, expected 0 (there is a gap)",
                entry(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])"), "xx");
  expect_damage(
      "b begins at byte 1 of the data, expected 2 (tensors overlap)",
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
      "xxx");
  expect_damage("b ends at byte 11 of 9; the file is cut off", kTwo, kData.substr(0, 9));
  expect_damage("2 bytes after the last tensor", kTwo, kData + "xx");
}

TEST_F(Safetensors, an_interrupted_write_leaves_the_old_file) {
  const auto path = write(kTwo, kData);
  EXPECT_THROW(write_atomically(path,
                                [](std::ostream& out) {
                                  out << "half of";
                                  throw std::runtime_error("power cut");
                                }),
               std::runtime_error);
  EXPECT_EQ(load_safetensors(path).size(), 2u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1)
      << "a temporary file was left behind";
  expect_error(Exit::resources, "cannot be written",
               [&] { save_safetensors(folder_.path() / "none" / "x.safetensors", {}); });
}

TEST_F(Safetensors, checkpoints_are_one_file_or_shards_with_an_index) {
  const auto path = folder_.path();
  const auto index = [&](const std::string& text) { write_text(path / "model.safetensors.index.json", text); };
  const Tensor one = from_vector(std::vector<float>{1}, {1}), two = from_vector(std::vector<float>{2}, {1});
  expect_error(Exit::data, "no such folder", [&] { load_checkpoint(path / "none"); });
  expect_error(Exit::data, "neither model.safetensors nor model.safetensors.index.json",
               [&] { load_checkpoint(path); });
  save_safetensors(path / "1.safetensors", {{"a", one}});
  save_safetensors(path / "2.safetensors", {{"b", two}});
  index(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_EQ(item(load_checkpoint(path).at("b")), 2);
  index(R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors"}})");
  expect_error(Exit::data, "1.safetensors: b is missing, which the index says is here", [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":"../1.safetensors"}})");
  expect_error(Exit::data, "a is in \"../1.safetensors\", expected a file of this folder",
               [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":"3.safetensors"}})");
  expect_error(Exit::data, "3.safetensors: No such file", [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":"1.safetensors","a":"2.safetensors","b":"2.safetensors"}})");
  expect_error(Exit::data, "has the key \"a\" twice", [&] { load_checkpoint(path); });
  save_safetensors(path / "2.safetensors", {{"b", two}, {"c", two}});
  index(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  expect_error(Exit::data, "2.safetensors: c is here, which the index does not say", [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":7}})");
  expect_error(Exit::data, "a is in 7, expected a file of this folder", [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":".."}})");
  expect_error(Exit::data, "not a file", [&] { load_checkpoint(path); });
  index(R"({"weight_map":{"a":"1.safetensors\u0000"}})");
  expect_error(Exit::data, "expected a file of this folder", [&] { load_checkpoint(path); });
  index("[]");
  expect_error(Exit::data, "has no weight_map", [&] { load_checkpoint(path); });
  index("{");
  expect_error(Exit::data, "not valid JSON", [&] { load_checkpoint(path); });
  save_safetensors(path / "model.safetensors", {{"whole", two}});  // is preferred
  EXPECT_EQ(load_checkpoint(path).size(), 1u);
}

}  // namespace
}  // namespace vlm2vec
