// Finds texts, whole pairs, equal pictures (by pixels) and similar pictures (vlm/image/picture_hash.h) that two data
// sets share, e.g. training and test rows.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// One shared item: its text or name, and its first place in each data set.
struct Leak {
  std::string what, in_a, in_b;
  int distance = 0;  // for near pictures: differing bits of the hashes
};
struct LeakKind {
  std::string name;
  int64_t in_a = 0, in_b = 0, shared = 0;  // distinct items
  std::vector<Leak> first = {};            // the first five in the order of B
};
struct LeakReport {
  LeakKind queries{"query texts"}, positives{"positive texts"}, pairs{"pairs"}, pictures{"pictures, equal pixels"},
      near{"pictures, near"};  // near: pictures of B without an equal in A
  int64_t unreadable = 0;      // pictures that are missing or cannot be decoded, and so were not compared
  std::vector<std::string> first_unreadable;
  bool leaks() const { return pairs.shared + pictures.shared + near.shared > 0; }
};

// Compares the texts of queries and positives, and the pictures of queries and all candidates, decoded on all cores.
// Pairs are equal if their texts and pixels are. Hashes of near pictures differ in at most `distance` bits, 0 to 15.
LeakReport find_leaks(const DataFolder& a, const DataFolder& b, int distance, bool quiet);

std::string leaks_table(const LeakReport& report);
nlohmann::ordered_json leaks_json(const LeakReport& report);

// Finds numbers that differ in few bits. Two numbers with at most d differing bits agree in one of d + 1 bands.
class NearIndex {
 public:
  NearIndex(std::vector<uint64_t> hashes, int distance);
  // Returns the number of the nearest hash within `distance`, the first among equals.
  std::optional<size_t> nearest(uint64_t hash) const;

 private:
  uint64_t band(uint64_t hash, int number) const;
  std::vector<uint64_t> hashes_;
  int distance_;
  std::vector<std::vector<std::pair<uint64_t, uint32_t>>> bands_;  // per band: its bits and the hash's number, sorted
};

}  // namespace vlm2vec
