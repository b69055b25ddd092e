// The devices that run the kernels here: the emulator, and a GPU if this build and machine have one.
#pragma once
#include <vector>

#include "kernels/gpu.h"
#include "tensor/storage.h"

namespace vlm2vec {

inline std::vector<Device> kernel_devices() {
  std::vector<Device> all{Device::emu};
  if (gpu::missing().empty()) all.push_back(Device::cuda);
  return all;
}

}  // namespace vlm2vec
