// What torch.save writes (since torch 1.6): an uncompressed zip file with the pickle {name}/data.pkl and, for every
// storage of numbers, {name}/data/{key}. Read with libzip, which checks every entry's CRC.
#pragma once
#include <filesystem>

#include "io/stored_array.h"

namespace vlm2vec {

// A dictionary of tensors; see pickle.h for what is read and what is refused. Needs at most twice the file's memory.
StoredArrays read_torch_file(const std::filesystem::path& path);

}  // namespace vlm2vec
