// Tensors in files. A tensor that is read uses the numbers where the mapped file has them, or a copy if they are not
// aligned. The formats, and what is refused: io/safetensors.h, io/torch_file.h, io/npy.h.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "tensor/tensor.h"

namespace vlm2vec {

using NamedTensors = std::map<std::string, Tensor>;

NamedTensors load_safetensors(const std::filesystem::path& path);
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

NamedTensors load_checkpoint(const std::filesystem::path& folder);  // of a Hugging Face folder, in one file or shards
NamedTensors load_weights(const std::filesystem::path& file);       // safetensors, or a .bin of torch
NamedTensors load_torch_file(const std::filesystem::path& path);

Tensor read_npy(const std::filesystem::path& file);
void write_npy(const std::filesystem::path& file, const Tensor& x);  // on the host

}  // namespace vlm2vec
