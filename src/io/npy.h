// NumPy's file format, for arrays that other programs read.
#pragma once
#include <filesystem>

#include "tensor/tensor.h"

namespace vlm2vec {

// Format 1.0, C order; f32, f64, i32, i64 or u8, of any shape, on the host. Written atomically.
void write_npy(const std::filesystem::path& file, const Tensor& x);

// The same formats; the numbers stay where the mapped file has them. Exit::data for anything else.
Tensor read_npy(const std::filesystem::path& file);

}  // namespace vlm2vec
