#include "kernels/device_memory.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/error.h"
#include "kernels/watcher.h"

namespace vlm2vec::emulator {
namespace {

// Maps the file twice. Its pages take memory when they are first written.
bool map_region() {
  const int file = memfd_create("vlm2vec-emu", MFD_CLOEXEC);
  if (file < 0) return false;
  void* hidden = MAP_FAILED;
  void* open = MAP_FAILED;
  if (ftruncate(file, region_bytes) == 0) {
    hidden = mmap(nullptr, size_t(region_bytes), PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    open = mmap(nullptr, size_t(region_bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  }
  close(file);
  if (hidden == MAP_FAILED || open == MAP_FAILED) return false;
  region_begin = reinterpret_cast<uintptr_t>(hidden);
  to_visible = intptr_t(reinterpret_cast<uintptr_t>(open) - region_begin);
  return true;
}

}  // namespace

char* map_pages(int64_t bytes) {
  static const bool mapped = map_region();
  static int64_t used = 0;
  if (!mapped)
    fail(Exit::resources, "--device emu: its memory needs 64 GB of address space, twice, which the system refuses; ",
         "ulimit -v says how much there is");
  if (bytes > region_bytes - used) return nullptr;
  char* pages = reinterpret_cast<char*>(region_begin) + used;
  used += bytes;
  mark_in_use(pages, bytes, false);
  return pages;
}

void mark_in_use(const char* hidden, int64_t bytes, bool in_use) {
  if (watcher) watcher->use_memory(visible(hidden), size_t(bytes), in_use);
  if (in_use) ASAN_UNPOISON_MEMORY_REGION(visible(hidden), size_t(bytes));
  else ASAN_POISON_MEMORY_REGION(visible(hidden), size_t(bytes));
}

}  // namespace vlm2vec::emulator
