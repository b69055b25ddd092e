#include "mmeb/training/grad_cache.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "tensor/ops.h"
#include "tensor/stopwatch.h"

namespace vlm2vec {
namespace {

using Rows = std::span<const EncoderInput>;

struct RowChunk {
  Rows rows;
  Ahead<TokenBatch> read;          // the rows on the device, while or after a thread reads them; empty: not begun
  std::optional<TokenBatch> kept;  // the same, for the second pass; none: they are read again
  Var embeddings;
};

Rows first_rows(Rows rows, int64_t chunk_size) {
  return chunk_size > 0 ? rows.first(std::min(size_t(chunk_size), rows.size())) : rows;
}

std::vector<RowChunk> split(Rows rows, int64_t chunk_size, Ahead<TokenBatch> first) {
  std::vector<RowChunk> chunks;
  for (; !rows.empty(); rows = rows.subspan(chunks.back().rows.size()))
    chunks.push_back({first_rows(rows, chunk_size), {}, {}, {}});
  if (!chunks.empty()) chunks[0].read = std::move(first);
  return chunks;
}

// Gives the chunks in the order of both passes. When it gives one, a thread begins to read the one after it.
class ChunkFeed {
 public:
  ChunkFeed(const Encoder& encoder, std::function<void()> then) : encoder_(encoder), then_(std::move(then)) {}

  // decide() must follow for each chunk of a side with several: the second pass may need it, too.
  void add(std::vector<RowChunk>& chunks) {
    for (RowChunk& chunk : chunks) order_.push_back(&chunk);
    if (chunks.size() > 1) undecided_ += chunks.size();
  }

  TokenBatch next() {
    Stopwatch watch;
    RowChunk& chunk = *order_.front();
    order_.pop_front();
    TokenBatch batch = chunk.read ? chunk.read.take() : encoder_.prepare(chunk.rows);
    waited_ += watch.lap();
    begin();
    return batch;
  }

  void decide(RowChunk& chunk, bool again) {
    --undecided_;
    if (again) order_.push_back(&chunk);
    begin();
  }

  double take_waited() { return std::exchange(waited_, 0); }  // seconds that next() waited since the last call

 private:
  void begin() {
    const auto unread = std::ranges::find_if(order_, [](const RowChunk* chunk) { return !chunk->read; });
    if (unread == order_.end()) {
      if (undecided_ == 0 && then_) std::exchange(then_, {})();
    } else if (unread == order_.begin()) {
      RowChunk& chunk = **unread;
      chunk.read = Ahead<TokenBatch>([&encoder = encoder_, rows = chunk.rows] { return encoder.prepare(rows); });
    }
  }

  const Encoder& encoder_;
  std::function<void()> then_;
  std::deque<RowChunk*> order_;  // not yet given
  size_t undecided_ = 0;
  double waited_ = 0;
};

// One side of the batch. A single chunk keeps its tape.
struct EmbeddedSide {
  std::vector<RowChunk> chunks;
  Var gathered;  // the embeddings of all ranks, as a leaf; its gradient is the cache

  // room: bytes left for prepared chunks. `cut` counts cut texts.
  void embed(Encoder& encoder, ChunkFeed& feed, const Comm& comm, int64_t& room, CutTexts& cut) {
    std::optional<NoGrad> no_grad;
    if (chunks.size() > 1) no_grad.emplace();
    std::vector<Tensor> values;
    for (RowChunk& chunk : chunks) {
      TokenBatch batch = feed.next();
      cut.add(chunk.rows, batch.cut);
      bool keep = false;
      if (no_grad) {
        int64_t bytes = 0;
        if (encoder.backbone->run_frozen(batch))
          for (const Tensor* x : batch.tensors()) bytes += x->bytes();
        keep = bytes > 0 && bytes <= room;
        if (keep) room -= bytes;
        feed.decide(chunk, !keep);
      }
      chunk.embeddings = encoder(batch);
      values.push_back(chunk.embeddings.value());
      if (keep) chunk.kept = std::move(batch);
    }
    gathered = Var::leaf(comm.all_gather(concat_rows(values)));
  }

  // Continues the chain rule from this rank's rows of the cache. Embeds each chunk again unless its tape was kept.
  void backward(Encoder& encoder, ChunkFeed& feed, const Comm& comm) {
    int64_t row = comm.rank * (gathered.value().rows() / comm.size);
    for (RowChunk& chunk : chunks) {
      const int64_t begin = row;
      row += int64_t(chunk.rows.size());
      Var embeddings = std::move(chunk.embeddings);
      if (chunks.size() > 1)
        embeddings = encoder(chunk.kept ? *std::exchange(chunk.kept, {}) : feed.next());
      if (!embeddings.requires_grad())
        continue;  // no trained parameter is involved: e.g. texts, if only the vision tower is trained
      embeddings.backward(gathered.grad().rows(begin, row));
    }
  }
};

// d loss / d log(1/τ) of the whole batch, [1]. The score of i and j is s = qᵢ·tⱼ/τ, so it is Σ dsᵢⱼ·sᵢⱼ = Σ qᵢ·dqᵢ.
// Every rank has all rows of both. Strips of rows keep their products small.
Tensor scale_gradient(const Tensor& q, const Tensor& dq) {
  constexpr int64_t strip = 1024;
  const Tensor sums = zeros({q.columns()}, q.dtype(), q.device());
  for (int64_t begin = 0; begin < q.rows(); begin += strip) {
    const int64_t end = std::min(begin + strip, q.rows());
    column_sums_to(multiply(q.rows(begin, end), dq.rows(begin, end)), sums);
  }
  return scale(mean(sums), double(q.columns()));
}

}  // namespace

FirstChunks read_first_chunks(const Encoder& encoder, Rows queries, Rows targets, int64_t query_chunk,
                              int64_t target_chunk) {
  const auto first = [&](Rows rows, int64_t chunk_size) {
    return Ahead<TokenBatch>::made([&] { return encoder.prepare(first_rows(rows, chunk_size)); });
  };
  return {first(queries, query_chunk), first(targets, target_chunk)};
}

ContrastiveResult contrastive_step(Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options,
                                   FirstChunks first) {
  Stopwatch watch;
  ContrastiveResult result;
  int64_t room = options.keep_bytes;
  EmbeddedSide q{split(queries, options.query_chunk, std::move(first.query)), {}},
      t{split(targets, options.target_chunk, std::move(first.target)), {}};
  ChunkFeed feed(encoder, options.then);
  for (EmbeddedSide* side : {&q, &t}) feed.add(side->chunks);
  q.embed(encoder, feed, options.comm, room, result.cut);
  t.embed(encoder, feed, options.comm, room, result.cut);
  result.kept_bytes = options.keep_bytes - room;
  result.data_seconds = feed.take_waited();
  result.embed_seconds = watch.lap() - result.data_seconds;
  Matching matching = options.matching;
  for (Tensor* x : {&matching.labels, &matching.groups}) *x = x->to(q.gathered.value().device());
  const InfoNceResult loss =
      info_nce(q.gathered, t.gathered, options.temperature, matching, options.bf16_scores);
  loss.loss.backward();
  result.loss = loss.loss.value(), result.best = loss.best;
  if (options.learn_temperature) result.scale_gradient = scale_gradient(q.gathered.value(), q.gathered.grad());
  result.loss_seconds = watch.lap();
  q.backward(encoder, feed, options.comm);
  t.backward(encoder, feed, options.comm);
  const double waited = feed.take_waited();
  result.data_seconds += waited;
  result.backward_seconds = watch.lap() - waited;
  return result;
}

}  // namespace vlm2vec
