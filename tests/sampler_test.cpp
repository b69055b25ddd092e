// Samplers: NumPy's stream and the official V2 traces exactly, each epoch of the V1 shuffle once, the balanced stream
// as ever.
#include "mmeb/training/sampler.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "mmeb/training/numpy_random.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Batches = std::vector<std::vector<RowId>>;

Batches take(Sampler sampler, size_t count) {
  Batches batches;
  while (batches.size() < count) batches.push_back(sampler());
  return batches;
}

Batches batches_of(const json& lists) {
  Batches batches;
  for (const json& list : lists) {
    batches.emplace_back();
    for (const json& row : list) batches.back().push_back({row.at(0), row.at(1)});
  }
  return batches;
}

TEST(SamplerGolden, draws_as_numpy) {
  NEEDS_GOLDEN("mmeb")
  const json golden = read_json(vlm2vec::golden("mmeb/samplers.json"));
  NumpyRandom bits(42), numbers(42);
  for (const char* list : {"default_rng_42_uint64", "default_rng_42_random", "choice_42_first_40"})
    EXPECT_GE(golden.at(list).size(), 1u) << list;
  for (const json& expected : golden.at("default_rng_42_uint64"))
    EXPECT_EQ(std::to_string(bits.bits()), expected.get<std::string>());
  for (const json& expected : golden.at("default_rng_42_random")) EXPECT_EQ(numbers.uniform(), expected.get<double>());
  // Sets that never end show the ids themselves.
  for (const auto& [sets, expected] : golden.at("choice_42_first_40").items()) {
    const size_t n = std::stoul(sets);
    const std::vector<int64_t> sizes(n, 1000);
    std::vector<int32_t> ids;
    for (const RowId& row : interleaved_sampler(sizes, {std::vector<double>(n, 1.0)}, 40, 42)()) ids.push_back(row.set);
    EXPECT_EQ(ids, expected.get<std::vector<int32_t>>()) << n << " sets";
  }
}

TEST(SamplerGolden, interleaves_as_the_official_code_through_its_library) {
  NEEDS_GOLDEN("mmeb")
  const json golden = read_json(vlm2vec::golden("mmeb/samplers.json"));
  const auto sizes = golden.at("sizes").get<std::vector<int64_t>>();
  int traces = 0;
  for (const auto& [name, trace] : golden.items()) {
    if (!name.ends_with("_library")) continue;
    const Interleaving how{trace.at("weights"), golden.at("sub_batch"), name.find("first_exhausted") != name.npos};
    Batches expected = batches_of(trace.at("batches"));
    const Batches pass = expected;  // the next one is the same
    expected.insert(expected.end(), pass.begin(), pass.end());
    EXPECT_EQ(take(interleaved_sampler(sizes, how, golden.at("batch"), 42), expected.size()), expected) << name;
    // What fills no batch is dropped: in batches of one row, nothing is.
    const Batches rows = take(interleaved_sampler(sizes, how, 1, 42), trace.at("rows").size());
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(rows[i][0], (RowId{trace.at("rows")[i][0], trace.at("rows")[i][1]})) << name << " " << i;
    ++traces;
  }
  EXPECT_EQ(traces, 4);
}

TEST(Sampler, a_pass_smaller_than_a_batch_is_refused) {
  Sampler sampler = interleaved_sampler({3, 2}, {{1, 1}}, 6, 1);
  expect_error(Exit::usage, "has 5 rows, fewer than the 6 of a batch", [&] { sampler(); });
  Sampler fits = interleaved_sampler({3, 2}, {{1, 1}}, 5, 1);
  EXPECT_EQ(fits(), fits());
}

TEST(Sampler, shuffled_gives_each_row_once_an_epoch_and_a_short_last_batch) {
  Sampler sampler = shuffled_sampler({10, 7, 25}, 8, 42);
  std::vector<Batches> epochs;
  for (int epoch = 0; epoch < 2; ++epoch) {
    epochs.push_back(take(sampler, 6));
    for (int i = 0; i < 6; ++i) sampler();  // the copy that take() used does not move this one on
    std::set<RowId> seen;
    std::vector<size_t> lengths;
    for (const auto& batch : epochs.back()) seen.insert(batch.begin(), batch.end()), lengths.push_back(batch.size());
    EXPECT_EQ(seen.size(), 42u);
    EXPECT_EQ(lengths, (std::vector<size_t>{8, 8, 8, 8, 8, 2}));
    for (const RowId& row : seen) EXPECT_LT(row.row, std::vector<int32_t>({10, 7, 25})[size_t(row.set)]);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(take(shuffled_sampler({10, 7, 25}, 8, 42), 6), epochs[0]);
  EXPECT_NE(take(shuffled_sampler({10, 7, 25}, 8, 43), 6), epochs[0]);
}

// Where a row goes is uniform: each of six rows comes first about equally often (the variance is 6000·1/6·5/6).
TEST(Sampler, shuffled_is_uniform) {
  std::map<RowId, int> first;
  for (uint64_t seed = 0; seed < 6000; ++seed) ++first[shuffled_sampler({2, 4}, 1, seed)()[0]];
  ASSERT_EQ(first.size(), 6u);
  for (const auto& [row, count] : first) EXPECT_NEAR(count, 1000, 5 * 29);
}

TEST(Sampler, balanced_is_the_stream_of_the_demonstration) {
  const Batches batches = take(balanced_sampler({10, 7, 25}, 8, 42), 40);
  EXPECT_EQ(batches[0], (std::vector<RowId>{{1, 6}, {0, 6}, {0, 9}, {1, 3}, {0, 4}, {0, 8}, {0, 7}, {0, 2}}));
  EXPECT_EQ(batches[39], (std::vector<RowId>{{1, 1}, {0, 9}, {2, 8}, {1, 5}, {0, 8}, {1, 0}, {1, 2}, {2, 12}}));
}

}  // namespace
}  // namespace vlm2vec
