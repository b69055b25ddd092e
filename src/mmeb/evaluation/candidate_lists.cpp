#include "mmeb/evaluation/candidate_lists.h"

#include <algorithm>
#include <unordered_set>

#include "tensor/error.h"
#include "tensor/random.h"

namespace vlm2vec {

std::vector<std::vector<int32_t>> with_num_candidates(const std::vector<std::vector<int32_t>>& candidates, int64_t n,
                                                      uint64_t seed) {
  if (n < 2) fail(Exit::usage, "--num_candidates: got ", n, ", expected at least 2: the right one and another");
  std::vector<int32_t> pool;  // every candidate of the set, once
  for (const auto& list : candidates) pool.insert(pool.end(), list.begin(), list.end());
  std::sort(pool.begin(), pool.end());
  pool.erase(std::unique(pool.begin(), pool.end()), pool.end());
  std::vector<size_t> taken_by(pool.empty() ? 0 : size_t(pool.back()) + 1);  // row + 1 that has it last
  std::vector<std::vector<int32_t>> chosen;
  for (size_t row = 0; row < candidates.size(); ++row) {
    Random random(mix(seed, row));
    const auto take = [&](std::vector<int32_t> from) {
      random.shuffle(from);
      for (const int32_t candidate : from) {
        if (int64_t(chosen.back().size()) == n) return;
        if (taken_by[size_t(candidate)] == row + 1) continue;
        taken_by[size_t(candidate)] = row + 1;
        chosen.back().push_back(candidate);
      }
    };
    chosen.emplace_back();
    take({candidates[row][0]});
    take(candidates[row]);
    if (int64_t(chosen.back().size()) < n) take(pool);
  }
  return chosen;
}

std::vector<std::vector<int32_t>> with_all_candidates(const std::vector<std::vector<int32_t>>& candidates) {
  std::vector<int32_t> pool;
  std::unordered_set<int32_t> seen;
  for (const auto& list : candidates)
    for (const int32_t candidate : list)
      if (seen.insert(candidate).second) pool.push_back(candidate);
  std::vector<std::vector<int32_t>> all;
  for (const auto& list : candidates) {
    all.push_back({list[0]});
    for (const int32_t candidate : pool)
      if (candidate != list[0]) all.back().push_back(candidate);
  }
  return all;
}

std::string shortage_note(const std::string& set, const std::vector<std::vector<int32_t>>& candidates, int64_t n) {
  size_t fewest = size_t(n);
  for (const auto& list : candidates) fewest = std::min(fewest, list.size());
  if (fewest == size_t(n)) return "";
  return sentence(set, " has ", fewest, " candidates, fewer than --num_candidates ", n);
}

}  // namespace vlm2vec
