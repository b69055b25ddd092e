// The devices that run the kernels here: the emulator, and a GPU if this build and machine have one.
#pragma once
#include <vector>

#include "kernels/gpu.h"
#include "vlm/token_batch.h"

namespace vlm2vec {

// Pictures of more patches take the emulator too long.
inline bool too_slow_for(Device device, const TokenBatch& batch) {
  return device == Device::emu && batch.patches && batch.patches.rows() > 300;
}

inline std::vector<Device> kernel_devices() {
  std::vector<Device> all{Device::emu};
  if (gpu::missing().empty()) all.push_back(Device::cuda);
  return all;
}

}  // namespace vlm2vec
