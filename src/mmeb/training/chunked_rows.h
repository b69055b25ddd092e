// The rows of a side of the batch as the model gets them: each distinct row once, in chunks.
#pragma once
#include <span>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// The most that a chunk may have; 0: no limit.
struct ChunkLimits {
  int64_t rows = 0, tokens = 0;
};

struct ChunkedRows {
  std::vector<EncoderInput> rows;  // distinct, in the order of the chunks
  std::vector<size_t> ends;        // where each chunk ends in `rows`
  std::vector<int32_t> places;     // of each row of the batch in `rows`

  std::span<const EncoderInput> chunk(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::span(rows).subspan(begin, ends[i] - begin);
  }
  bool moved() const;       // a row of the batch has another number here
  int64_t largest() const;  // rows of the largest chunk
};

// Under dropout, rows with other masks differ (first_equals). With a limit of tokens the longest rows come first, and a
// row that exceeds it is a chunk of its own; else the rows keep their order. Throws like Processor::token_counts().
ChunkedRows chunk_rows(const Encoder& encoder, std::span<const EncoderInput> rows, ChunkLimits limits);

}  // namespace vlm2vec
