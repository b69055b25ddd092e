// The memory of a device apart from that of the host.
#pragma once
#include <cstdint>
#include <string>

namespace vlm2vec {

struct CardMemory {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int64_t total = 0, taken = 0;  // bytes; taken: now, by CUDA itself, by this program and by others
};
CardMemory card_memory();  // of the GPU in use; no bytes if there is none

// Bytes of live tensors on the host and on devices with memory of their own (emu, cuda), at the most since
// reset_peak_bytes(). The two peaks may be of different times.
struct PeakBytes {
  int64_t host = 0, device = 0;
};
PeakBytes peak_bytes();
int64_t peak_held_on_card();  // bytes that the process took from the GPU for tensors, in use or free for reuse

}  // namespace vlm2vec
