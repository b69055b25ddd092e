// What is in a set: counts, shares, lengths, and how many rows have the same target, which InfoNCE takes for a wrong
// answer when two of them meet in a batch.
#pragma once
#include <array>
#include <nlohmann/json_fwd.hpp>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// The 5th, 50th and 95th of a hundred and the largest: each the smallest value that so many do not exceed.
struct Quantiles {
  int64_t low = 0, median = 0, high = 0, most = 0;
};
Quantiles quantiles(std::vector<int64_t> values);  // at least one value

struct SetStats {
  std::string name;
  bool test = false;
  int64_t rows = 0, queries = 0, positives = 0, pictures = 0;  // the last three: different ones
  double with_query_picture = 0, with_positive_picture = 0;    // shares of the rows
  Quantiles query_length, positive_length;                     // characters (Unicode code points) of the text
  Quantiles candidates;                                        // of a row; of a training row its positives
  int64_t negatives = 0;                                       // hard ones, of all rows
  int64_t duplicates = 0;                                      // rows whose positive another row has, too
};
SetStats stats_of(const DataSet& set, const Pictures& pictures = {});

std::string stats_table(const std::vector<SetStats>& sets);
nlohmann::ordered_json stats_json(const std::vector<SetStats>& sets);

}  // namespace vlm2vec
