// The emulator's device memory: one file in memory, mapped twice. Tensors of Device::emu hold addresses of the view
// that nobody may touch. So the host's hand on device memory is a crash, as it is on a GPU. Kernels and copies use the
// other view.
#pragma once
#include <cstdint>

namespace vlm2vec::emulator {

char* map_pages(int64_t bytes);  // new pages of the view that nobody may touch, zeros; null: no memory is left

// Marks the bytes as in use or not, for AddressSanitizer and the watcher: a kernel's hand beyond them is an error.
void mark_in_use(const char* hidden, int64_t bytes, bool in_use);

inline constexpr int64_t region_bytes = int64_t(64) << 30;
inline constinit uintptr_t region_begin = UINTPTR_MAX;  // of the hidden view, once there is one
inline constinit intptr_t to_visible = 0;

// Returns where kernels and copies see an address; addresses of host memory stay as they are.
template <class T>
T* visible(T* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return at - region_begin < uintptr_t(region_bytes) ? reinterpret_cast<T*>(at + uintptr_t(to_visible)) : address;
}

}  // namespace vlm2vec::emulator
