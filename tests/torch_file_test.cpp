// Files of torch.save: pickles made by hand (torch_writer.h); what asks for more than tensors is refused
// by name.
#include "tensor/tensor_files.h"

#include <gtest/gtest.h>

#include <cstring>

#include "allocations.h"
#include "archive_writer.h"
#include "damage.h"
#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "io/pickle.h"
#include "temporary_folder.h"
#include "torch_writer.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

using namespace torch_writer;

std::string dictionary(const std::string& value) { return pickle("}q" + std::string(1, 0) + "(" + entry("x", value) + "u"); }

class TorchFile : public testing::Test {
 protected:
  void write(const std::string& pickle, const std::string& storage, bool compress = false,
             const std::string& byteorder = "little", int storages = 1) {
    Members members{{"some/data.pkl", pickle}, {"some/byteorder", byteorder}};
    for (int i = 0; i < storages; ++i) members.emplace_back("some/data/" + std::to_string(i), storage);
    write_zip(file_, members, compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE);
  }
  Tensor read(const std::string& pickle, const std::string& storage) {
    write(pickle, storage);
    return load_torch_file(file_).at("x");
  }
  void refused(const std::string& sentence, const std::string& pickle) {
    write(pickle, std::string(24, 0));
    expect_error(Exit::data, file_.string() + ": " + sentence, [&] { load_torch_file(file_); });
  }
  const TemporaryFolder folder_{"torch"};
  const std::filesystem::path file_ = folder_ / "x.bin";
};

template <class T>
std::string bytes(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

TEST_F(TorchFile, reads_every_kind_of_float) {
  const Tensor f32 = read(dictionary(tensor("FloatStorage", 6, 0, {2, 3}, {3, 1})), bytes<float>({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f32.shape(), (Shape{2, 3}));
  EXPECT_EQ(to_vector<float>(f32), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  const Tensor f64 = read(dictionary(tensor("DoubleStorage", 2, 1, {1}, {1})), bytes<double>({1, 0.1}));
  EXPECT_EQ(f64.dtype(), DType::f64);
  EXPECT_EQ(to_vector<double>(f64), std::vector<double>{0.1});
  const Tensor narrow = read(dictionary(tensor("BFloat16Storage", 2, 0, {2}, {1})), bytes<uint16_t>({0x3F80, 0xC000}));
  EXPECT_EQ(narrow.dtype(), DType::bf16);
  EXPECT_EQ(to_vector<float>(narrow), (std::vector<float>{1, -2}));
  // 1, −2, the largest, the smallest normal, the smallest, −0, infinity
  const Tensor half = read(dictionary(tensor("HalfStorage", 7, 0, {7}, {1})),
                           bytes<uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000, 0x7C00}));
  EXPECT_EQ(half.dtype(), DType::f16);
  EXPECT_EQ(to_vector<float>(half),
            (std::vector<float>{1, -2, 65504, 0x1p-14f, 0x1p-24f, -0.0f, std::numeric_limits<float>::infinity()}));
}

// Phi-3.5-V stores its embedding under two names; both share the bytes, so together they are larger than the file.
TEST_F(TorchFile, a_checkpoint_may_be_one_file_or_shards_and_its_tensors_one_storage) {
  const std::string one = tensor("FloatStorage", 255, 0, {255}, {1});
  const std::string three =
      pickle("}q" + std::string(1, 0) + "(" + text("x") + one + text("y") + one + text("z") + one + "u");
  write(three, bytes(std::vector<float>(255, 2.5f)));
  ASSERT_LT(fs::file_size(file_), 3 * 255 * sizeof(float));
  const auto checkpoint = [&] { return load_checkpoint(folder_.path()); };
  const auto expect_three = [&] {
    const NamedTensors tensors = checkpoint();
    ASSERT_EQ(tensors.size(), 3u);
    for (const char* name : {"x", "y", "z"})
      EXPECT_EQ(to_vector<float>(tensors.at(name)), std::vector<float>(255, 2.5f)) << name;
  };
  expect_error(Exit::data, "neither model.safetensors nor model.safetensors.index.json is there", checkpoint);
  const fs::path shard = folder_ / "pytorch_model-00001-of-00001.bin", index = folder_ / "pytorch_model.bin.index.json";
  fs::copy_file(file_, shard);
  const auto says = [&](const std::string& names) {
    std::string map;
    for (const char name : names)
      map += sentence(map.empty() ? "" : ", ", '"', name, "\": \"", shard.filename().string(), '"');
    write_text(index, "{\"weight_map\": {" + map + "}}");
  };
  says("xyz"), expect_three();
  says("xy"), expect_error(Exit::data, "z is here, which the index does not say", checkpoint);
  fs::copy_file(file_, folder_ / "pytorch_model.bin");
  expect_three();  // as transformers, which looks for the one file first
}

TEST_F(TorchFile, copies_views_that_are_not_contiguous) {
  const std::string six = bytes<float>({1, 2, 3, 4, 5, 6});
  const auto view = [&](int offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
    return to_vector<float>(read(dictionary(tensor("FloatStorage", 6, offset, shape, strides)), six));
  };
  EXPECT_EQ(view(0, {3, 2}, {1, 3}), (std::vector<float>{1, 4, 2, 5, 3, 6}));  // a transpose
  EXPECT_EQ(view(1, {2}, {3}), (std::vector<float>{2, 5}));
  EXPECT_EQ(view(5, {2, 2}, {0, 0}), (std::vector<float>{6, 6, 6, 6}));
  EXPECT_EQ(view(6, {0}, {1}), std::vector<float>{});
  EXPECT_EQ(view(2, {}, {}), std::vector<float>{3});
}

// A file of little must not become much: texts are kept once however often they are recalled, and the copies of views
// have no more bytes than the storages.
TEST_F(TorchFile, takes_no_more_memory_than_it_has) {
  std::string recalls = std::string("X\0\0\2\0", 5) + std::string(2 << 16, 'a') + "q" + std::string(1, '\0');
  for (int i = 0; i < 2000; ++i) recalls += std::string("h") + '\0';
  reset_peak_allocated();
  refused("the pickle has another value where a dictionary of tensors is expected", pickle(recalls));
  if (allocations_are_counted) {
    EXPECT_LT(peak_allocated(), 4 << 20);
  }
  const std::string turned = tensor("FloatStorage", 6, 0, {3, 2}, {1, 3});
  refused("the pickle has more transposed views than its storages have bytes",
          pickle("}(" + text("x") + turned + text("y") + turned + "u"));
}

TEST_F(TorchFile, refuses_programs) {
  refused("the pickle asks to run os.system; only tensors are read",
          pickle(global("os", "system") + text("true") + "\x85R"));
  refused("the pickle asks to run builtins.eval; only tensors are read", pickle(global("builtins", "eval")));
  refused("the pickle asks to run torch.load; only", pickle(global("torch", "load")));
  refused("the pickle asks for instruction number 98; only tensors are read", pickle("}}b"));
  refused("the pickle asks for instruction number 105;", pickle("(ios\nsystem\n"));
  refused("the pickle asks for instruction number 147;", pickle(text("os") + text("system") + "\x93"));
  refused("the pickle asks for instruction number 129;", pickle("}}\x81"));
  refused("the pickle asks for instruction number 255;", pickle("\xFF"));
  refused("the pickle calls torch.FloatStorage in a way", pickle(global("torch", "FloatStorage") + ")R"));
  refused("the pickle calls collections.OrderedDict in a way",
          pickle(global("collections", "OrderedDict") + number(1) + "\x85R"));
  refused("the pickle does not begin as a pickle of protocol 2", "\x80\x04}.");
}

TEST_F(TorchFile, refuses_nonsense) {
  std::string huge = tensor("FloatStorage", 6, 0, {6}, {1});  // 2^62 + 4 numbers would be 16 bytes modulo 2^64
  const std::string count = number(6) + "t";
  const size_t at = huge.find(count);
  ASSERT_NE(at, std::string::npos);
  huge.replace(at, number(6).size(), std::string("\x8A\x08\x04\0\0\0\0\0\0\x40", 10));
  refused("the pickle has a storage of 4611686018427387908 numbers", dictionary(huge));
  refused("the pickle ends in the middle of an instruction", "\x80\x02}X\xFF\xFF\xFF\xFF.");
  refused("the pickle takes a value where there is none", pickle("\x85"));
  refused("the pickle takes a value where there is none", pickle("t"));
  refused("the pickle recalls value 3, which it never had", pickle("h\x03"));
  refused("the pickle nests tuples deeper", pickle(")\x85\x85\x85"));
  refused("the pickle stacks up more", pickle(std::string(70000, '(')));
  refused("the pickle has another value where a dictionary of tensors is expected", pickle(number(1)));
  refused("the pickle has another value where a tensor is expected", dictionary(number(1)));
  refused("the pickle has another value where a tensor's name is expected", pickle("}" + number(1) + number(1) + "s"));
  refused("the pickle fills a dictionary that is not there", pickle(text("x") + number(1) + "s"));
  refused("the pickle goes on after its end", dictionary(tensor("FloatStorage", 6, 0, {6}, {1})) + "}");
  const std::string one = text("x") + tensor("FloatStorage", 6, 0, {6}, {1});
  refused("the pickle holds x twice", pickle("}(" + one + one + "u"));
  for (const auto& [offset, shape, strides] : {std::tuple<int, std::vector<int64_t>, std::vector<int64_t>>{0, {7}, {1}},
                                               {1, {6}, {1}},
                                               {0, {2, 2}, {1, 5}},
                                               {7, {}, {}},
                                               {6, {}, {}},
                                               {0, {2}, {}},
                                               {0, {2}, {7}}})
    refused("the pickle has a tensor of shape ", dictionary(tensor("FloatStorage", 6, offset, shape, strides)));
  refused("the pickle wants 20 bytes of storage 0, which has 24", dictionary(tensor("FloatStorage", 5, 0, {5}, {1})));
  refused("has no member some/data/1", [] {
    std::string other = dictionary(tensor("FloatStorage", 6, 0, {6}, {1}));
    other[other.find("X\x01" + std::string(3, 0) + "0") + 5] = '1';
    return other;
  }());
}

TEST_F(TorchFile, refuses_other_files) {
  const std::string good = dictionary(tensor("FloatStorage", 6, 0, {6}, {1})), zeros(4000, 0);
  write(good, std::string(24, 0), false, "big");
  expect_error(Exit::data, "its numbers are not little-endian", [&] { load_torch_file(file_); });
  write(dictionary(tensor("FloatStorage", 1000, 0, {10}, {1})), zeros, true);  // more bytes than the file has
  expect_error(Exit::data, "some/data/0: claims 4000 bytes; at most ", [&] { load_torch_file(file_); });
  std::string many = "}(";  // ten storages, each smaller than the file, together larger
  for (int i = 0; i < 10; ++i) {
    std::string one = tensor("FloatStorage", 100, 0, {100}, {1});
    one[one.find("X\x01" + std::string(3, 0) + "0") + 5] = char('0' + i);
    many += text("x" + std::to_string(i)) + one;
  }
  write(pickle(many + "u"), std::string(400, 0), true, "little", 10);
  ASSERT_GT(fs::file_size(file_), 400u);
  expect_error(Exit::data, ": claims 400 bytes; at most ", [&] { load_torch_file(file_); });
  write(good, "aaaaaaaaaaaaaaaaaaaaaaaa");
  std::string whole = read_text(file_);
  whole[whole.find("aaaa")] = 'b';
  write_text(file_, whole);
  expect_error(Exit::data, "some/data/0: cannot be read (CRC error)", [&] { load_torch_file(file_); });
  write_text(file_, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.");  // as before torch 1.6
  expect_error(Exit::data, "is not a file of torch.save in the zip format", [&] { load_torch_file(file_); });
  expect_error(Exit::data, "No such file or directory", [&] { load_torch_file(folder_ / "none"); });
}

TEST(TorchFileGolden, survives_damage) {
  NEEDS_GOLDEN("qwen2_vl")
  const std::string whole = read_text(golden("qwen2_vl/training/dora/final_bin/adapter_model.bin"));
  const TemporaryFolder folder("torch");
  const auto load = [&](const std::string& bytes) {
    write_text(folder / "x.bin", bytes, Sync::later);
    load_torch_file(folder / "x.bin");
  };
  const Damage counts = damage(whole, 3, load);
  EXPECT_GE(counts.refused, 150);  // nearly every byte is a number, which a CRC covers
  // The bytes that describe: flips in the pickle and in the directory of the zip file, not hidden behind the CRC.
  const size_t begin = whole.find("\x80\x02}q"), size = 5596;
  const std::string program = whole.substr(begin, size);
  const Damage flips = damage(program, 4, [&](const std::string& bytes) {
    unpickle_tensors({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.bin",
                     [](const PickledStorage& storage) {
                       if (storage.count > 4096) fail(Exit::data, "x.bin: no such storage");
                       const size_t size = size_t(storage.count * storage.type->size);
                       const auto bytes = std::make_shared<std::vector<uint8_t>>(size);
                       return FileBytes{*bytes, bytes};
                     });
  });
  EXPECT_GT(flips.refused, 50);
  EXPECT_GT(flips.read, 0);
  const std::string rest = whole.substr(whole.size() - 5000);
  damage(rest, 6, [&](const std::string& bytes) { load(whole.substr(0, whole.size() - 5000) + bytes); });
}

}  // namespace
}  // namespace vlm2vec
