// The memory that this process may take.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace vlm2vec {

// Bytes of the machine with its swap, or of the process's control group (v2) if the group's limit is lower.
struct HostMemory {
  int64_t total = 0;      // the most that this process can ever get
  int64_t available = 0;  // without taking memory from other processes; the file cache counts as free
};
HostMemory host_memory(const std::filesystem::path& root = "/");  // tests pass another root

int64_t most_resident_bytes();  // the most memory that this process has ever occupied

std::string in_bytes(int64_t bytes);  // "512 B", "1.5 MB", "12.3 GB", in powers of 1000

}  // namespace vlm2vec
