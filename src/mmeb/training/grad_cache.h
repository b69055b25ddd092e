// One contrastive step: the loss of a batch of pairs and its gradients, by GradCache (Gao et al. 2021, section 3):
// embed every chunk without a tape; differentiate the loss of the whole batch by the embeddings; embed every chunk
// again, with a tape, and continue the chain rule. A side that is one chunk keeps its tape and is embedded once.
// Between the passes the output of a frozen vision tower is kept.
#pragma once
#include <span>

#include "autograd/ops.h"
#include "tensor/comm.h"
#include "vlm/encoder.h"

namespace vlm2vec {

inline constexpr int64_t kKeptChunkBytes = int64_t(512) << 20;

struct ContrastiveOptions {
  double temperature = 0.02;
  int64_t query_chunk = 0, target_chunk = 0;  // rows embedded at a time; 0: the whole side at once
  Matching matching = {};                     // of the gathered rows: which target is whose
  Comm comm = {};
  int64_t keep_bytes = kKeptChunkBytes;  // of prepared chunks between the passes, at most (Encoder::run_frozen)
};

struct ContrastiveResult {
  double loss;
  std::vector<int32_t> best;  // per query: the target it scores highest, the first among equals
  int64_t kept_bytes;         // of the prepared chunks that waited for the second pass
  // Pictures and forward; the loss and its gradient by the embeddings; backward, with the second forward of chunks.
  double embed_seconds = 0, loss_seconds = 0, backward_seconds = 0;
  CutTexts cut = {};
};

// Adds d loss / d parameter to the gradients of the trained parameters. Targets beyond the queries' own are hard
// negatives of all queries: the paper's formula has them, the official code reads them and does not use them.
ContrastiveResult contrastive_step(Encoder& encoder, std::span<const EncoderInput> queries,
                                   std::span<const EncoderInput> targets, const ContrastiveOptions& options);

}  // namespace vlm2vec
