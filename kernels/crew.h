// The OS threads that share the blocks of a launch. Each has a machine of the emulator.
#pragma once
#include <cstdint>
#include <functional>

namespace vlm2vec::emulator {

struct Part {
  unsigned number = 0, count = 1;  // the blocks number, number + count, number + 2 count, …
};
// Runs all parts at once, the first on this thread, and throws the error of the first that has one. There is one part
// if use_os_threads says so, for a watcher, and while the others work for another launch.
void share_blocks(uint64_t blocks, const std::function<void(Part)>& run);

}  // namespace vlm2vec::emulator
