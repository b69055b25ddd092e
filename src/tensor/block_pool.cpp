#include "tensor/block_pool.h"

#include <sys/mman.h>

#include <algorithm>

namespace vlm2vec {
namespace {

constexpr int64_t kHuge = 4 << 20;  // from this size on, huge pages are worth asking for

int64_t whole_pages(int64_t bytes) { return (bytes + BlockPool::kPage - 1) / BlockPool::kPage * BlockPool::kPage; }

// Bytes that may be held beyond the peak use, so that each step finds most pages of the step before.
int64_t to_spare(int64_t most_live) { return most_live / 64 + (4 << 20); }

}  // namespace

char* BlockPool::map_pages(int64_t bytes) const {
  if (map_) return map_(bytes);
  void* p = mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  if (bytes >= kHuge) madvise(p, size_t(bytes), MADV_HUGEPAGE);  // only a hint
  return static_cast<char*>(p);
}

void BlockPool::add(char* begin, int64_t bytes) {
  by_address_.emplace(begin, bytes);
  by_size_.emplace(bytes, begin);
  free_ += bytes;
}

BlockPool::Ranges::iterator BlockPool::remove(Ranges::iterator range) {
  by_size_.erase({range->second, range->first});
  free_ -= range->second;
  return by_address_.erase(range);
}

// Gives the smallest free ranges back first: large ones are more useful.
void BlockPool::give_back(int64_t bytes) {
  while (bytes > 0 && !map_ && !by_size_.empty()) {
    const auto [size, begin] = *by_size_.begin();
    const int64_t part = std::min(size, whole_pages(bytes));
    if (munmap(begin + size - part, size_t(part)) != 0) return;  // too many holes; the pages stay here
    remove(by_address_.find(begin));
    if (size > part) add(begin, size - part);
    bytes -= part;
  }
}

char* BlockPool::take(int64_t bytes) {
  const int64_t size = whole_pages(bytes);
  char* block = nullptr;
  if (const auto fit = by_size_.lower_bound({size, nullptr}); fit != by_size_.end()) {
    const auto [range, begin] = *fit;
    remove(by_address_.find(begin));
    if (range > size) add(begin + size, range - size);
    block = begin;
  } else {
    const int64_t most = std::max(most_live_, live_ + size);
    give_back(held() + size - most - to_spare(most));
    block = map_pages(size);
    if (!block) give_back(free_), block = map_pages(size);
    if (!block) return nullptr;
  }
  live_ += size;
  most_live_ = std::max(most_live_, live_);
  return block;
}

void BlockPool::give(char* block, int64_t bytes) {
  const int64_t size = whole_pages(bytes);
  live_ -= size;
  char* begin = block;
  char* end = block + size;
  auto next = by_address_.lower_bound(block);
  if (next != by_address_.end() && next->first == end) end += next->second, next = remove(next);
  if (next != by_address_.begin())
    if (const auto before = std::prev(next); before->first + before->second == begin)
      begin = before->first, remove(before);
  add(begin, end - begin);
}

}  // namespace vlm2vec
