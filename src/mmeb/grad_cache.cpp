#include "mmeb/grad_cache.h"

#include <algorithm>

namespace vlm2vec {
namespace {

using Rows = std::span<const EncoderInput>;

std::vector<Rows> split(Rows rows, int64_t chunk) {
  std::vector<Rows> chunks;
  for (size_t begin = 0; begin < rows.size(); begin += size_t(chunk)) chunks.push_back(rows.subspan(begin, std::min(size_t(chunk), rows.size() - begin)));
  return chunks;
}

Var embed(Encoder& encoder, Rows rows) { return encoder(*encoder.prepare(rows)); }

ContrastiveResult result_of(const InfoNceResult& r) { return {item(r.loss.value()), to_vector<int32_t>(r.best)}; }

}  // namespace

ContrastiveResult contrastive_step(Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options) {
  if (options.query_chunk <= 0 && options.target_chunk <= 0) {
    const InfoNceResult loss = info_nce(embed(encoder, queries), embed(encoder, targets), options.temperature);
    loss.loss.backward();
    return result_of(loss);
  }
  const auto chunk_size = [](int64_t chunk, Rows rows) { return chunk > 0 ? chunk : int64_t(rows.size()); };
  std::vector<Rows> chunks = split(queries, chunk_size(options.query_chunk, queries));
  const size_t query_chunks = chunks.size();
  for (Rows chunk : split(targets, chunk_size(options.target_chunk, targets))) chunks.push_back(chunk);

  // 1. Embed every chunk without a tape.
  std::vector<Tensor> cached[2];
  for (size_t i = 0; i < chunks.size(); ++i) {
    NoGrad no_grad;
    cached[i >= query_chunks].push_back(embed(encoder, chunks[i]).value());
  }

  // 2. The loss sees the whole batch, of all ranks; its gradients by the embeddings are the cache.
  const Var q = Var::leaf(options.comm.all_gather(concat_rows(cached[0]))), t = Var::leaf(options.comm.all_gather(concat_rows(cached[1])));
  const InfoNceResult loss = info_nce(q, t, options.temperature);
  loss.loss.backward();

  // 3. Embed every chunk again, with a tape, and continue the chain rule from its rows of the cache.
  int64_t row[2] = {options.comm.rank * int64_t(queries.size()), options.comm.rank * int64_t(targets.size())};
  for (size_t i = 0; i < chunks.size(); ++i) {
    const bool is_target = i >= query_chunks;
    int64_t& begin = row[is_target];
    const int64_t end = begin + int64_t(chunks[i].size());
    embed(encoder, chunks[i]).backward((is_target ? t : q).grad().rows(begin, end));
    begin = end;
  }
  return result_of(loss);
}

}  // namespace vlm2vec
