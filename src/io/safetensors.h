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

// F32, BF16, F16, F64, I32, I64 or U8; the bytes stay where the mapped file has them.
StoredArrays read_safetensors(const std::filesystem::path& path);

// Written atomically, in the order of the names: write(name, out) gives an array's bytes when its turn comes.
void write_safetensors(const std::filesystem::path& path, const StoredArrays& arrays,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(const std::string& name, std::ostream& out)>& write);

// The arrays of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists, which
// must hold what the index says and nothing else.
StoredArrays read_checkpoint(const std::filesystem::path& folder);

}  // namespace vlm2vec
