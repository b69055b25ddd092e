// One contrastive step: the loss of a batch of pairs and its gradients, by GradCache (Gao et al. 2021, section 3).
// It embeds every chunk without a tape and differentiates the loss of the whole batch by the embeddings. Then it embeds
// every chunk again with a tape and continues the chain rule. A side of one chunk keeps its tape and is embedded once.
// The output of a frozen vision tower is kept between the passes. While the model computes a chunk, a thread reads the
// next one.
#pragma once
#include <functional>
#include <span>

#include "autograd/ops.h"
#include "tensor/ahead.h"
#include "tensor/comm.h"
#include "vlm/encoder.h"

namespace vlm2vec {

inline constexpr int64_t kKeptChunkBytes = int64_t(512) << 20;

struct ContrastiveOptions {
  double temperature = 0.02;
  int64_t query_chunk = 0, target_chunk = 0;  // rows embedded at a time; 0: the whole side at once
  Matching matching = {};                     // on the host; assigns the gathered targets to queries
  Comm comm = {};
  int64_t keep_bytes = kKeptChunkBytes;  // most bytes of prepared chunks between the passes (Backbone::run_frozen)
  std::function<void()> then = {};       // called once, when no chunk is left to begin reading
  bool bf16_scores = false;
  bool learn_temperature = false;
};

// The first chunk of each side, read before the step begins.
struct FirstChunks {
  Ahead<TokenBatch> query, target;
};
// Reads them in this thread. Errors come when contrastive_step() takes the chunk.
FirstChunks read_first_chunks(const Encoder& encoder, std::span<const EncoderInput> queries,
                              std::span<const EncoderInput> targets, int64_t query_chunk, int64_t target_chunk);

struct ContrastiveResult {
  Tensor loss, best;  // [1]; i32 [queries]: the target that each scores highest, the first among equals
  Tensor scale_gradient;   // [1]: d loss / d log(1/τ), with learn_temperature
  int64_t kept_bytes = 0;  // bytes of the prepared chunks kept for the second pass
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
