// safetensors files: u64 length N (little-endian), N bytes of JSON {name: {dtype, shape, data_offsets}}, then the
// numbers. Everything is checked first: no key twice, offsets inside the file, in order, without gap or overlap, sizes
// equal to shape times type.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "io/stored_array.h"

namespace vlm2vec {

// Reads F32, BF16, F16, F64, I32, I64 or U8; the bytes stay in the mapped file.
StoredArrays read_safetensors(const std::filesystem::path& path);

// Writes atomically, in the order of the names; write(name, out) must write that array's bytes.
void write_safetensors(const std::filesystem::path& path, const StoredArrays& arrays,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(const std::string& name, std::ostream& out)>& write);

// Reads {tensor: file} from an index.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index);

// The file or index with a Hugging Face folder's weights: model.safetensors, model.safetensors.index.json, or the same
// of pytorch_model.bin, or either of OpenCLIP, or the only .pth; an empty name if there is none.
struct WeightsFile {
  std::string name;
  bool is_index = false;
};
WeightsFile weights_file(const std::filesystem::path& folder);
StoredArrays read_weights(const std::filesystem::path& file);  // safetensors, a .bin of torch, the model of a .pth

// Reads a Hugging Face folder. Shards must hold exactly what their index says.
StoredArrays read_checkpoint(const std::filesystem::path& folder);

}  // namespace vlm2vec
