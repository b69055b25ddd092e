// What two data sets share, such as training and test rows: texts, whole pairs, pictures by their pixels, and pictures
// that look alike (vlm/picture_hash.h).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// One thing that both have: what it is, and where it stands first in each.
struct Leak {
  std::string what, in_a, in_b;
  int distance = 0;  // of near pictures: bits in which the hashes differ
};
struct LeakKind {
  std::string name;
  int64_t in_a = 0, in_b = 0, shared = 0;  // different ones
  std::vector<Leak> first = {};            // up to five, in the order of B
};
struct LeakReport {
  LeakKind queries{"query texts"}, positives{"positive texts"}, pairs{"pairs"}, pictures{"pictures, equal pixels"},
      near{"pictures, near"};  // near: those of B that have no equal in A
  int64_t unreadable = 0;      // pictures that are missing or cannot be decoded, and so were not compared
  std::vector<std::string> first_unreadable;
  bool leaks() const { return pairs.shared + pictures.shared + near.shared > 0; }
};

// Texts are those of queries and positives; a pair is equal if both texts are and the pixels of both pictures; pictures
// are those of queries and all candidates, decoded on all cores. `distance`: most bits, 0 to 15, in which hashes of
// near pictures differ.
LeakReport find_leaks(const DataFolder& a, const DataFolder& b, int distance, bool quiet);

std::string leaks_table(const LeakReport& report);
nlohmann::ordered_json leaks_json(const LeakReport& report);

// Finds numbers that differ in few bits: two that differ in at most d agree in one of d + 1 bands of their 64 bits.
class NearIndex {
 public:
  NearIndex(std::vector<uint64_t> hashes, int distance);
  // The number of the nearest hash, the first among equals; nothing within `distance`.
  std::optional<size_t> nearest(uint64_t hash) const;

 private:
  uint64_t band(uint64_t hash, int number) const;
  std::vector<uint64_t> hashes_;
  int distance_;
  std::vector<std::vector<std::pair<uint64_t, uint32_t>>>
      bands_;  // of each band: its bits and the hash's number, sorted
};

}  // namespace vlm2vec
