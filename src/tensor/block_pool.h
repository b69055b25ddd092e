// Whole pages for large blocks. Freed ones serve later blocks of any size: they are split, and joined with free
// neighbours. Those that no block fits go back to the system, so that never more is held than was in use at one time,
// but for a little to spare.
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

  char* take(int64_t bytes);                      // bytes > 0, uninitialised, at the start of a page; null: no memory
  void give(char* block, int64_t bytes);          // as it was taken
  int64_t held() const { return live_ + free_; }  // bytes of the pages that the system has given

 private:
  using Ranges = std::map<char*, int64_t>;  // bytes by address
  void add(char* begin, int64_t bytes);
  Ranges::iterator remove(Ranges::iterator range);
  void give_back(int64_t bytes);
  Ranges by_address_;                            // the free ranges; no two touch
  std::set<std::pair<int64_t, char*>> by_size_;  // the same
  int64_t live_ = 0, most_live_ = 0, free_ = 0;
};

}  // namespace vlm2vec
