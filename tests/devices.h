// The devices that run the kernels here: the emulator, and a GPU if this build and machine have one.
#pragma once
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/gpu.h"
#include "vlm/token_batch.h"

namespace vlm2vec {

// Pictures of more patches take the emulator too long.
inline bool too_slow_for(Device device, const TokenBatch& batch) {
  return device == Device::emu && batch.patches && batch.patches.rows() > 128;
}

// VLM2VEC_TEST_CUBLAS=False: products on a GPU are those of the kernels, as with --cublas False.
inline bool cublas_is_used() {
  const char* chosen = std::getenv("VLM2VEC_TEST_CUBLAS");
  return !chosen || std::string(chosen) != "False";
}

inline std::vector<Device> kernel_devices() {
  std::vector<Device> all{Device::emu};
  if (!gpu::missing().empty()) return all;
  gpu::use_products({.cublas = cublas_is_used()});
  all.push_back(Device::cuda);
  return all;
}

// The options of a command that runs there.
inline std::string device_options(const std::string& device) {
  return " --device " + device + (device == "cuda" && !cublas_is_used() ? " --cublas False" : "");
}

}  // namespace vlm2vec
