// How much memory this process may take.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace vlm2vec {

// Bytes, of the machine with its swap, or of the process's control group (v2) where that grants less.
struct HostMemory {
  int64_t total = 0;      // more can never be had
  int64_t available = 0;  // without taking from others; what the system keeps of files is free
};
HostMemory host_memory(const std::filesystem::path& root = "/");  // of another root: for tests

std::string in_bytes(int64_t bytes);  // "512 B", "1.5 MB", "12.3 GB", in powers of 1000

}  // namespace vlm2vec
