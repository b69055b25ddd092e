#include "mmeb/training/grad_cache.h"

#include <algorithm>
#include <optional>

#include "tensor/stopwatch.h"

namespace vlm2vec {
namespace {

using Rows = std::span<const EncoderInput>;

std::vector<Rows> split(Rows rows, int64_t chunk) {
  std::vector<Rows> chunks;
  for (size_t begin = 0; begin < rows.size(); begin += size_t(chunk))
    chunks.push_back(rows.subspan(begin, std::min(size_t(chunk), rows.size() - begin)));
  return chunks;
}

Var embed(Encoder& encoder, Rows rows) { return encoder(*encoder.prepare(rows)); }

// One side of the batch: its rows in chunks, and their embeddings, with a tape if all rows are one chunk.
struct EmbeddedSide {
  std::vector<Rows> chunks;
  std::vector<Var> embeddings;
  Var gathered;  // of all ranks, a leaf: its gradient is the cache

  EmbeddedSide(Encoder& encoder, Rows rows, int64_t chunk_size, const Comm& comm, CutTexts& cut)
      : chunks(split(rows, chunk_size > 0 ? chunk_size : int64_t(rows.size()))) {
    std::optional<NoGrad> no_grad;
    if (chunks.size() > 1) no_grad.emplace();
    std::vector<Tensor> values;
    for (const Rows chunk : chunks) {
      const auto batch = encoder.prepare(chunk);
      cut.add(chunk, batch->cut);
      embeddings.push_back(encoder(*batch));
      values.push_back(embeddings.back().value());
    }
    gathered = Var::leaf(comm.all_gather(concat_rows(values)));
  }

  // Continues the chain rule from this rank's rows of the cache, through each chunk embedded again unless its tape was
  // kept.
  void backward(Encoder& encoder, const Comm& comm) {
    int64_t row = comm.rank * (gathered.value().rows() / comm.size);
    for (size_t i = 0; i < chunks.size(); ++i) {
      const int64_t begin = row;
      row += int64_t(chunks[i].size());
      Var embedding = std::move(embeddings[i]);
      if (!embedding.requires_grad()) embedding = embed(encoder, chunks[i]);
      if (!embedding.requires_grad())
        continue;  // rows that meet no trained parameter: texts, of a trained vision tower
      embedding.backward(gathered.grad().rows(begin, row));
    }
  }
};

}  // namespace

ContrastiveResult contrastive_step(Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options) {
  Stopwatch watch;
  CutTexts cut;
  EmbeddedSide q(encoder, queries, options.query_chunk, options.comm, cut),
      t(encoder, targets, options.target_chunk, options.comm, cut);
  const double embed_seconds = watch.lap();
  const InfoNceResult loss = info_nce(q.gathered, t.gathered, options.temperature, options.matching);
  loss.loss.backward();
  const double loss_seconds = watch.lap();
  q.backward(encoder, options.comm);
  t.backward(encoder, options.comm);
  return {item(loss.loss.value()), to_vector<int32_t>(loss.best), embed_seconds, loss_seconds, watch.lap(), cut};
}

}  // namespace vlm2vec
