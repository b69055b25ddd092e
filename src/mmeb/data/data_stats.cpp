#include "mmeb/data/data_stats.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace vlm2vec {
namespace {

int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
}

std::string in_words(const Quantiles& q) { return sentence(q.low, "/", q.median, "/", q.high, "/", q.most); }

nlohmann::ordered_json in_json(const Quantiles& q) {
  return {{"p5", q.low}, {"p50", q.median}, {"p95", q.high}, {"max", q.most}};
}

}  // namespace

Quantiles quantiles(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](size_t hundredths) { return values[(values.size() * hundredths + 99) / 100 - 1]; };
  return {at(5), at(50), at(95), values.back()};
}

SetStats stats_of(const DataSet& set, const Pictures& held) {
  SetStats stats{set.name, set.test};
  std::set<Side> queries;
  std::map<Side, int64_t> positives;
  std::set<std::string> pictures;
  std::vector<int64_t> query_lengths, positive_lengths, candidates;
  const std::vector<TrainRow> rows = read_data_rows(set, held);
  for (const TrainRow& row : rows) {
    queries.insert(row.query);
    stats.with_query_picture += !row.query.images.empty();
    stats.with_positive_picture += !row.positives[0].images.empty();
    query_lengths.push_back(characters(row.query.text));
    candidates.push_back(int64_t(row.positives.size() + (set.test ? row.negatives.size() : 0)));
    if (!set.test) stats.negatives += int64_t(row.negatives.size());
    pictures.insert(row.query.images.begin(), row.query.images.end());
    for (const Side& side : row.positives) {
      pictures.insert(side.images.begin(), side.images.end());
      ++positives[side];
      positive_lengths.push_back(characters(side.text));
    }
    for (const Side& side : row.negatives) pictures.insert(side.images.begin(), side.images.end());
  }
  stats.rows = int64_t(rows.size());
  stats.queries = int64_t(queries.size()), stats.positives = int64_t(positives.size());
  stats.pictures = int64_t(pictures.size());
  stats.with_query_picture /= double(stats.rows), stats.with_positive_picture /= double(stats.rows);
  stats.query_length = quantiles(query_lengths), stats.positive_length = quantiles(positive_lengths);
  stats.candidates = quantiles(candidates);
  for (const auto& [side, count] : positives) stats.duplicates += count > 1 ? count : 0;
  return stats;
}

std::string stats_table(const std::vector<SetStats>& sets) {
  std::vector<std::vector<std::string>> table = {{"set", "kind", "rows", "queries", "positives", "pictures",
                                                  "query picture", "positive picture", "query characters",
                                                  "positive characters", "positives or candidates", "negatives",
                                                  "same positive"}};
  for (const SetStats& s : sets)
    table.push_back({s.name, s.test ? "test" : "train", sentence(s.rows), sentence(s.queries), sentence(s.positives),
                     sentence(s.pictures), percent(s.with_query_picture), percent(s.with_positive_picture),
                     in_words(s.query_length), in_words(s.positive_length), in_words(s.candidates),
                     sentence(s.negatives), percent(double(s.duplicates) / double(s.rows))});
  return text_table(table) +
         "queries, positives and pictures: distinct ones; a/b/c/d: the 5 %, 50 % and 95 % quantiles and the maximum\n"
         "same positive: rows whose positive another row also has; in one batch they are each other's wrong answers\n";
}

nlohmann::ordered_json stats_json(const std::vector<SetStats>& sets) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SetStats& s : sets)
    list.push_back({{"name", s.name},
                    {"kind", s.test ? "test" : "train"},
                    {"rows", s.rows},
                    {"distinct_queries", s.queries},
                    {"distinct_positives", s.positives},
                    {"distinct_pictures", s.pictures},
                    {"share_query_picture", s.with_query_picture},
                    {"share_positive_picture", s.with_positive_picture},
                    {"query_characters", in_json(s.query_length)},
                    {"positive_characters", in_json(s.positive_length)},
                    {s.test ? "candidates" : "positives_per_row", in_json(s.candidates)},
                    {"negatives", s.negatives},
                    {"rows_with_shared_positive", s.duplicates}});
  return {{"sets", list}};
}

}  // namespace vlm2vec
