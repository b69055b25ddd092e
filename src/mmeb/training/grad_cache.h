// One contrastive step: the loss of a batch of pairs and its gradients, by GradCache (Gao et al. 2021, section 3).
// It embeds every chunk without a tape and differentiates the loss of the whole batch by the embeddings. Then it embeds
// every chunk again with a tape and continues the chain rule. Equal rows of a side are embedded once. A side of one
// chunk keeps its tape and is embedded once, and so are the first chunks of others, as far as there is room. The output
// of a frozen vision tower is kept between the passes. While the model computes a chunk, a thread reads the next one.
#pragma once
#include <functional>
#include <span>

#include "autograd/ops.h"
#include "mmeb/training/chunked_rows.h"
#include "tensor/ahead.h"
#include "tensor/comm.h"
#include "vlm/encoder.h"

namespace vlm2vec {

inline constexpr int64_t kKeptChunkBytes = int64_t(512) << 20;

struct ContrastiveOptions {
  double temperature = 0.02;
  int64_t query_chunk = 0, target_chunk = 0;  // rows embedded at a time; 0: the whole side at once
  int64_t chunk_tokens = 0;                   // tokens embedded at a time, the longest rows first; 0: no limit
  Matching matching = {};                     // on the host; assigns the gathered targets to queries
  Comm comm = {};
  int64_t keep_bytes = kKeptChunkBytes;  // most bytes of prepared chunks between the passes (Backbone::run_frozen)
  int64_t tape_bytes = 0;                // room for tapes between the passes; the last one kept may exceed it
  std::function<void()> then = {};       // called once, when no chunk is left to begin reading
  bool bf16_scores = false;
  bool learn_temperature = false;
};

// Both sides, and the first chunk of each, read before the step begins.
struct FirstChunks {
  ChunkedRows queries, targets;
  Ahead<TokenBatch> query, target;
};
// Reads them in this thread, by the limits of `options`. Errors of a chunk come when contrastive_step() takes it.
FirstChunks read_first_chunks(const Encoder& encoder, std::span<const EncoderInput> queries,
                              std::span<const EncoderInput> targets, const ContrastiveOptions& options);

struct ContrastiveResult {
  Tensor loss, best;  // [1]; i32 [queries]: the target that each scores highest, the first among equals
  Tensor scale_gradient;   // [1]: d loss / d log(1/τ), with learn_temperature
  int64_t kept_bytes = 0;  // bytes of the prepared chunks kept for the second pass
  int64_t kept_tapes = 0;  // bytes of the tapes kept for it
  // Times: waiting for chunks to be read; forward; the loss and its gradient by the embeddings; backward with the
  // second forward.
  double data_seconds = 0, embed_seconds = 0, loss_seconds = 0, backward_seconds = 0;
  CutTexts cut = {};
};

// Adds d loss / d parameter to the gradients of the trained parameters. Targets beyond the queries' own are hard
// negatives of all queries: the paper's formula uses them; the official code reads but ignores them.
ContrastiveResult contrastive_step(Encoder& encoder, std::span<const EncoderInput> queries,
                                   std::span<const EncoderInput> targets, const ContrastiveOptions& options,
                                   FirstChunks first = {});

}  // namespace vlm2vec
