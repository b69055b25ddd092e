// Statistics of a set: counts, shares, lengths, and rows with the same target. InfoNCE takes such a target for a wrong
// answer if two of these rows are in one batch.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

// The 5 %, 50 % and 95 % quantiles and the maximum; a quantile is the smallest value that this share does not exceed.
struct Quantiles {
  int64_t low = 0, median = 0, high = 0, most = 0;
};
Quantiles quantiles(std::vector<int64_t> values);  // at least one value

struct SetStats {
  std::string name;
  bool test = false;
  int64_t rows = 0, queries = 0, positives = 0, pictures = 0;  // the last three count distinct items
  double with_query_picture = 0, with_positive_picture = 0;    // shares of the rows
  Quantiles query_length, positive_length;                     // characters (Unicode code points) of the text
  Quantiles candidates;                                        // per row; for training rows, positives
  int64_t negatives = 0;                                       // hard negatives of all rows
  int64_t duplicates = 0;                                      // rows whose positive another row also has
};
SetStats stats_of(const DataSet& set, const Pictures& pictures = {});

std::string stats_table(const std::vector<SetStats>& sets);
nlohmann::ordered_json stats_json(const std::vector<SetStats>& sets);

}  // namespace vlm2vec
