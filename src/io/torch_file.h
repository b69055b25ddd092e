// Files of torch.save (since torch 1.6): a zip file with the pickle {name}/data.pkl, and {name}/data/{key} for every
// storage of numbers.
#pragma once
#include <filesystem>

#include "io/stored_array.h"

namespace vlm2vec {

// Reads a dictionary of tensors, or with `part` the one of this name that a training run saved; pickle.h says what is
// refused. Needs at most twice the file's memory.
StoredArrays read_torch_file(const std::filesystem::path& path, const std::string& part = "");

}  // namespace vlm2vec
