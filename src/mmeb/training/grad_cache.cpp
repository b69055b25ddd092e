#include "mmeb/training/grad_cache.h"

#include <algorithm>
#include <optional>

#include "tensor/stopwatch.h"

namespace vlm2vec {
namespace {

using Rows = std::span<const EncoderInput>;

struct RowChunk {
  Rows rows;
  std::optional<TokenBatch> kept;  // the rows prepared, for the second pass; none: they are prepared again
  Var embeddings;
};

std::vector<RowChunk> split(Rows rows, int64_t chunk_size) {
  std::vector<RowChunk> chunks;
  for (size_t begin = 0; begin < rows.size(); begin += size_t(chunk_size))
    chunks.push_back({rows.subspan(begin, std::min(size_t(chunk_size), rows.size() - begin)), {}, {}});
  return chunks;
}

// One side of the batch: its rows in chunks. A single chunk keeps its tape.
struct EmbeddedSide {
  std::vector<RowChunk> chunks;
  Var gathered;  // the embeddings of all ranks, as a leaf; its gradient is the cache

  // room: bytes left for prepared chunks. `cut` counts cut texts.
  EmbeddedSide(Encoder& encoder, Rows rows, int64_t chunk_size, const Comm& comm, int64_t& room, CutTexts& cut)
      : chunks(split(rows, chunk_size > 0 ? chunk_size : int64_t(rows.size()))) {
    std::optional<NoGrad> no_grad;
    if (chunks.size() > 1) no_grad.emplace();
    std::vector<Tensor> values;
    for (RowChunk& chunk : chunks) {
      const int64_t before = memory_statistics().live_bytes;
      TokenBatch batch = encoder.prepare(chunk.rows);
      cut.add(chunk.rows, batch.cut);
      const bool settled = no_grad && encoder.backbone->run_frozen(batch);
      const int64_t bytes = memory_statistics().live_bytes - before;
      chunk.embeddings = encoder(batch);
      values.push_back(chunk.embeddings.value());
      if (settled && bytes <= room) chunk.kept = std::move(batch), room -= bytes;
    }
    gathered = Var::leaf(comm.all_gather(concat_rows(values)));
  }

  // Continues the chain rule from this rank's rows of the cache. Embeds each chunk again unless its tape was kept.
  void backward(Encoder& encoder, const Comm& comm) {
    int64_t row = comm.rank * (gathered.value().rows() / comm.size);
    for (RowChunk& chunk : chunks) {
      const int64_t begin = row;
      row += int64_t(chunk.rows.size());
      Var embeddings = std::move(chunk.embeddings);
      if (chunks.size() > 1)
        embeddings = encoder(chunk.kept ? *std::exchange(chunk.kept, {}) : encoder.prepare(chunk.rows));
      if (!embeddings.requires_grad())
        continue;  // no trained parameter is involved: e.g. texts, if only the vision tower is trained
      embeddings.backward(gathered.grad().rows(begin, row));
    }
  }
};

}  // namespace

ContrastiveResult contrastive_step(Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options) {
  Stopwatch watch;
  int64_t room = options.keep_bytes;
  CutTexts cut;
  EmbeddedSide q(encoder, queries, options.query_chunk, options.comm, room, cut),
      t(encoder, targets, options.target_chunk, options.comm, room, cut);
  const double embed_seconds = watch.lap();
  const InfoNceResult loss = info_nce(q.gathered, t.gathered, options.temperature, options.matching);
  loss.loss.backward();
  const double loss_seconds = watch.lap();
  q.backward(encoder, options.comm);
  t.backward(encoder, options.comm);
  return {loss.loss.value(),
          loss.best,
          options.keep_bytes - room,
          embed_seconds,
          loss_seconds,
          watch.lap(),
          cut};
}

}  // namespace vlm2vec
