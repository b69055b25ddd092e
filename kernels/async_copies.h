// The asynchronous copies (PTX cp.async) of one CUDA thread in the emulator that are under way.
#pragma once
#include <cstring>
#include <vector>

#include "kernels/watcher.h"

namespace vlm2vec::emulator {

class AsyncCopies {
 public:
  void begin(void* to, const void* from, unsigned bytes, bool valid) {
    fill(to, 0xFF, bytes);  // not a number until it arrives
    copies_.push_back({to, from, bytes, valid, group_});
  }
  void commit() { ++group_; }
  void wait(unsigned groups_left) {
    std::erase_if(copies_, [&](const Copy& copy) {
      const bool awaited = copy.group + groups_left < group_;
      if (awaited && !copy.valid) fill(copy.to, 0, copy.bytes);
      else if (awaited && copy.bytes == 4) std::memcpy(copy.to, copy.from, 4);
      else if (awaited) std::memcpy(copy.to, copy.from, 16);
      if (awaited && watcher) watcher->end_copy(copy.to, copy.bytes);
      return awaited;
    });
  }
  bool empty() const { return copies_.empty(); }
  void clear() { copies_.clear(), group_ = 0; }  // keeps its memory

 private:
  struct Copy {
    void* to;
    const void* from;
    unsigned bytes;
    bool valid;
    unsigned group;
  };
  static void fill(void* to, int byte, unsigned bytes) {  // of known lengths: no call
    if (bytes == 4) std::memset(to, byte, 4);
    else std::memset(to, byte, 16);
  }
  std::vector<Copy> copies_;
  unsigned group_ = 0;  // of the next one
};

}  // namespace vlm2vec::emulator
