// How much memory this process may still take.
#pragma once
#include <cstdint>
#include <string>

namespace vlm2vec {

// Of the machine as the system estimates it (MemAvailable), within the limit of the process's control group (v2).
int64_t available_memory();

std::string in_bytes(int64_t bytes);  // "512 B", "1.5 MB", "12.3 GB", in powers of 1000

}  // namespace vlm2vec
