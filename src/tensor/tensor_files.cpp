#include "tensor/tensor_files.h"

#include <algorithm>

#include "io/npy.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace vlm2vec {
namespace {

constexpr std::pair<DType, std::string_view> kTypes[] = {
    {DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::f16, "F16"}, {DType::f64, "F64"},
    {DType::i32, "I32"}, {DType::i64, "I64"},   {DType::u8, "U8"}};

const StoredType* stored(DType dtype) {
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& t) { return t.first == dtype; });
  return find_type(&StoredType::name, type->second);
}

Tensor tensor_of(const StoredArray& x) {
  const auto* type =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& t) { return t.second == x.type->name; });
  const Tensor t = Tensor::borrow(x.data.bytes.data(), x.shape, type->first, x.data.owner);
  return reinterpret_cast<uintptr_t>(t.raw()) % uintptr_t(x.type->size) == 0 ? t : t.clone();
}

NamedTensors tensors_of(const StoredArrays& arrays) {
  NamedTensors tensors;
  for (const auto& [name, array] : arrays) tensors.emplace(name, tensor_of(array));
  return tensors;
}

}  // namespace

NamedTensors load_safetensors(const std::filesystem::path& path) { return tensors_of(read_safetensors(path)); }

NamedTensors load_checkpoint(const std::filesystem::path& folder) { return tensors_of(read_checkpoint(folder)); }

NamedTensors load_weights(const std::filesystem::path& file) { return tensors_of(read_weights(file)); }

NamedTensors load_torch_file(const std::filesystem::path& path) { return tensors_of(read_torch_file(path)); }

void stream_safetensors(const std::filesystem::path& path, const std::map<std::string, LazyTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  StoredArrays arrays;
  for (const auto& [name, t] : tensors) arrays[name] = {stored(t.dtype), t.shape};
  write_safetensors(path, arrays, metadata, [&](const std::string& name, std::ostream& out) {
    const LazyTensor& t = tensors.at(name);
    const Tensor host = t.make().to(Device::cpu);
    CHECK(host.shape() == t.shape && host.dtype() == t.dtype, name, ": became ", host, ", announced as ",
          name_of(t.dtype), to_string(t.shape));
    out.write(static_cast<const char*>(host.raw()), host.bytes());
  });
}

void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::map<std::string, LazyTensor> lazy;
  for (const auto& [name, t] : tensors) lazy[name] = {t.shape(), t.dtype(), [t = t] { return t; }};
  stream_safetensors(path, lazy, metadata);
}

Tensor read_npy(const std::filesystem::path& file) { return tensor_of(read_npy_array(file)); }

void write_npy(const std::filesystem::path& file, const Tensor& x) {
  const std::span bytes(static_cast<const uint8_t*>(x.raw()), size_t(x.bytes()));
  write_npy_array(file, {stored(x.dtype()), x.shape(), {bytes, nullptr}});
}

}  // namespace vlm2vec
