// Whole pages for large blocks. Freed pages are split, joined with free neighbours and reused for blocks of any size.
// Unused pages go back to the system: the pool holds little more than was ever in use at one time.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace vlm2vec {

// Not safe for several threads.
class BlockPool {
 public:
  static constexpr int64_t kPage = 4096;
  using MapPages = char* (*)(int64_t bytes);  // null: there is no memory

  // Without `map`, host memory; pages of another `map` are kept for good.
  explicit BlockPool(MapPages map = nullptr) : map_(map) {}
  char* take(int64_t bytes);                      // bytes > 0; uninitialised, page-aligned; null if there is no memory
  void give(char* block, int64_t bytes);          // must get the address and size of one take()
  int64_t held() const { return live_ + free_; }  // bytes of all pages held from the system

 private:
  using Ranges = std::map<char*, int64_t>;  // bytes by address
  void add(char* begin, int64_t bytes);
  Ranges::iterator remove(Ranges::iterator range);
  void give_back(int64_t bytes);
  char* map_pages(int64_t bytes) const;
  MapPages map_;
  Ranges by_address_;                            // the free ranges; no two touch
  std::set<std::pair<int64_t, char*>> by_size_;  // the same ranges
  int64_t live_ = 0, most_live_ = 0, free_ = 0;
};

}  // namespace vlm2vec
