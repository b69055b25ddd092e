// NumPy's file format, for arrays that other programs read.
#pragma once
#include <filesystem>

#include "io/stored_array.h"

namespace vlm2vec {

// Writes format 1.0, C order; F32, F64, I32, I64 or U8, of any shape, atomically.
void write_npy_array(const std::filesystem::path& file, const StoredArray& x);

// Reads the same formats; the bytes stay in the mapped file. Throws Exit::data for anything else.
StoredArray read_npy_array(const std::filesystem::path& file);

}  // namespace vlm2vec
