#include "mmeb/training/chunked_rows.h"

#include <algorithm>
#include <numeric>

namespace vlm2vec {

bool ChunkedRows::moved() const {
  for (size_t i = 0; i < places.size(); ++i)
    if (size_t(places[i]) != i) return true;
  return false;
}

int64_t ChunkedRows::largest() const {
  size_t most = 0;
  for (size_t i = 0; i < ends.size(); ++i) most = std::max(most, chunk(i).size());
  return int64_t(most);
}

ChunkedRows chunk_rows(const Encoder& encoder, std::span<const EncoderInput> rows, ChunkLimits limits) {
  const std::vector<size_t> firsts = first_equals(rows, encoder.backbone->dropout.active);
  std::vector<size_t> order;  // numbers of the distinct rows
  for (size_t i = 0; i < rows.size(); ++i)
    if (firsts[i] == i) order.push_back(i);
  std::vector<int64_t> tokens(rows.size());
  if (limits.tokens > 0) {
    tokens = encoder.processor.token_counts(rows);
    std::ranges::stable_sort(order, std::ranges::greater(), [&](size_t i) { return tokens[i]; });
  }
  ChunkedRows chunked;
  std::vector<int32_t> place_of(rows.size());
  int64_t in_chunk = 0;  // tokens
  for (const size_t i : order) {
    const size_t begin = chunked.ends.empty() ? 0 : chunked.ends.back(), count = chunked.rows.size() - begin;
    in_chunk += tokens[i];
    if (count > 0 &&
        ((limits.rows > 0 && count == size_t(limits.rows)) || (limits.tokens > 0 && in_chunk > limits.tokens)))
      chunked.ends.push_back(chunked.rows.size()), in_chunk = tokens[i];
    place_of[i] = int32_t(chunked.rows.size());
    chunked.rows.push_back(rows[i]);
  }
  if (!chunked.rows.empty()) chunked.ends.push_back(chunked.rows.size());
  for (const size_t first : firsts) chunked.places.push_back(place_of[first]);
  return chunked;
}

}  // namespace vlm2vec
