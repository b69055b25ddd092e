#include "mmeb/evaluation/candidate_lists.h"

#include <algorithm>

#include "io/error.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

// Returns for each candidate the first one with the same side; names do not matter if rows share candidates.
std::vector<int32_t> first_of_side(const EvaluationSet& set) {
  std::vector<int32_t> of_side(set.sides.size(), -1), first;
  for (size_t c = 0; c < set.candidates.size(); ++c) {
    int32_t& known = of_side[size_t(set.candidates[c].side)];
    if (known < 0) known = int32_t(c);
    first.push_back(known);
  }
  return first;
}

}  // namespace

std::vector<CandidateList> with_num_candidates(const EvaluationSet& set, int64_t n, uint64_t seed) {
  if (n < 2) fail(Exit::usage, "--num_candidates: got ", n, ", expected at least 2: the right one and another");
  const std::vector<int32_t> first = first_of_side(set);
  std::vector<int32_t> pool = first;
  const auto side = [&](int32_t candidate) { return set.candidates[size_t(candidate)].side; };
  std::sort(pool.begin(), pool.end(), [&](int32_t a, int32_t b) { return side(a) < side(b); });
  pool.erase(std::unique(pool.begin(), pool.end()), pool.end());
  std::vector<size_t> taken_by(first.size());  // last row + 1 that took the candidate
  std::vector<CandidateList> lists;
  for (size_t row = 0; row < set.lists.size(); ++row) {
    Random random(mix(seed, row));
    std::vector<int32_t> own = set.lists[row].numbers(), chosen;
    for (int32_t& candidate : own) candidate = first[size_t(candidate)];
    const auto take = [&](std::vector<int32_t> from) {
      random.shuffle(from);
      for (const int32_t candidate : from) {
        if (int64_t(chosen.size()) == n) return;
        if (taken_by[size_t(candidate)] == row + 1) continue;
        taken_by[size_t(candidate)] = row + 1;
        chosen.push_back(candidate);
      }
    };
    take({own[0]});
    take(own);
    if (int64_t(chosen.size()) < n) take(pool);
    lists.emplace_back(std::move(chosen));
  }
  return lists;
}

std::vector<CandidateList> with_all_candidates(const EvaluationSet& set) {
  const std::vector<int32_t> first = first_of_side(set);
  std::vector<int32_t> pool;
  std::vector<size_t> place(first.size());
  for (size_t c = 0; c < first.size(); ++c)
    if (first[c] == int32_t(c)) place[c] = pool.size(), pool.push_back(int32_t(c));
  const auto shared = std::make_shared<const std::vector<int32_t>>(std::move(pool));
  std::vector<CandidateList> lists;
  for (const CandidateList& own : set.lists) lists.emplace_back(shared, place[size_t(first[size_t(own[0])])]);
  return lists;
}

std::string shortage_note(const EvaluationSet& set, int64_t n) {
  size_t fewest = size_t(n);
  for (const CandidateList& list : set.lists) fewest = std::min(fewest, list.size());
  if (fewest == size_t(n)) return "";
  return sentence(set.name, " has ", fewest, " candidates, fewer than --num_candidates ", n);
}

}  // namespace vlm2vec
