// safetensors files: u64 length N (little-endian), N bytes of JSON {name: {dtype, shape, data_offsets}}, then the
// numbers. Tensors are used where the mapped file has them (those that are not aligned are copied). Everything is
// checked first: no key twice, offsets inside the file, in order, without gap or overlap, sizes equal to shape times
// type.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace vlm2vec {

using NamedTensors = std::map<std::string, Tensor>;

NamedTensors load_safetensors(const std::filesystem::path& path);  // F32, BF16, F16, F64, I32, I64, U8
// Written atomically, in the order of the names.
void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

// The same for tensors that are made when their turn comes, so that only one needs memory.
struct LazyTensor {
  Shape shape;
  DType dtype;
  std::function<Tensor()> make;
};
void stream_safetensors(const std::filesystem::path& path, const std::map<std::string, LazyTensor>& tensors,
                        const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

// The tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists,
// which must hold what the index says and nothing else.
NamedTensors load_checkpoint(const std::filesystem::path& folder);

}  // namespace vlm2vec
