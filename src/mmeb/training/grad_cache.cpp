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
  Ahead<TokenBatch> read = {};          // the rows on the device, while or after a thread reads them; empty: not begun
  std::optional<TokenBatch> kept = {};  // the same, for the second pass; none: they are read again
  Var embeddings = {};
  bool has_tape = false;
};

// What may be kept of several chunks between the passes.
struct Room {
  int64_t prepared = 0, tapes = 0;  // bytes left
  int64_t largest_tape = 0;         // so far
  bool for_tape() const { return tapes > 0 && tapes >= largest_tape; }
  void keep_tape(int64_t bytes) { tapes -= bytes, largest_tape = std::max(largest_tape, bytes); }
};

int64_t bytes_of(TokenBatch& batch) {
  int64_t bytes = 0;
  for (const Tensor* x : batch.tensors()) bytes += x->bytes();
  return bytes;
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
  ChunkedRows rows;
  std::vector<RowChunk> chunks;
  Tensor places;  // i32: where the model's vectors have that of each row of the batch; undefined: in order
  Var gathered;   // the embeddings of all ranks, as a leaf; its gradient is the cache

  EmbeddedSide(ChunkedRows chunked, Ahead<TokenBatch> first) : rows(std::move(chunked)) {
    for (size_t i = 0; i < rows.ends.size(); ++i) chunks.push_back({rows.chunk(i)});
    if (!chunks.empty()) chunks[0].read = std::move(first);
  }
  EmbeddedSide(const EmbeddedSide&) = delete;  // the chunks refer to the rows

  // Embeds each chunk, and gives each row of the batch its vector. `cut` counts the batch's cut texts.
  void embed(Encoder& encoder, ChunkFeed& feed, const Comm& comm, Rows batch_rows, Room& room, CutTexts& cut) {
    std::vector<Tensor> values;
    std::vector<bool> is_cut(rows.rows.size());
    for (RowChunk& chunk : chunks) {
      TokenBatch batch = feed.next();
      for (const size_t row : batch.cut) is_cut[size_t(chunk.rows.data() - rows.rows.data()) + row] = true;
      if (chunks.size() == 1) chunk.embeddings = encoder(batch), chunk.has_tape = true;
      else embed_one_of_several(encoder, feed, chunk, std::move(batch), room);
      values.push_back(chunk.embeddings.value());
    }
    Tensor all = concat_rows(values);
    if (rows.moved()) {
      places = from_vector(rows.places, {int64_t(rows.places.size())}, all.device());
      all = gather_rows(all, places);
    }
    for (size_t i = 0; i < batch_rows.size(); ++i) cut.add(batch_rows[i], is_cut[size_t(rows.places[i])]);
    gathered = Var::leaf(comm.all_gather(all));
  }

  // Keeps the tape while there is room, else, with a frozen vision tower, the prepared rows.
  static void embed_one_of_several(Encoder& encoder, ChunkFeed& feed, RowChunk& chunk, TokenBatch batch, Room& room) {
    if (room.for_tape()) {
      feed.decide(chunk, false);
      const int64_t before = bytes_of_thread();
      chunk.embeddings = encoder(batch), chunk.has_tape = true;
      return room.keep_tape(bytes_of_thread() - before + bytes_of(batch));
    }
    const NoGrad no_grad;
    const int64_t bytes = encoder.backbone->run_frozen(batch) ? bytes_of(batch) : 0;
    const bool keep = bytes > 0 && bytes <= room.prepared;
    if (keep) room.prepared -= bytes;
    feed.decide(chunk, !keep);
    chunk.embeddings = encoder(batch);
    if (keep) chunk.kept = std::move(batch);
  }

  // Continues the chain rule from this rank's rows of the cache. Embeds each chunk again unless its tape was kept.
  void backward(Encoder& encoder, ChunkFeed& feed, const Comm& comm) {
    const int64_t count = gathered.value().rows() / comm.size;
    Tensor cache = gathered.grad().rows(comm.rank * count, (comm.rank + 1) * count);
    if (places) {  // equal rows add up
      const Tensor sums = zeros({int64_t(rows.rows.size()), cache.columns()}, cache.dtype(), cache.device());
      scatter_add_rows_to(cache, places, sums);
      cache = sums;
    }
    int64_t row = 0;
    for (RowChunk& chunk : chunks) {
      const int64_t begin = row;
      row += int64_t(chunk.rows.size());
      Var embeddings = std::move(chunk.embeddings);
      if (!chunk.has_tape)
        embeddings = encoder(chunk.kept ? *std::exchange(chunk.kept, {}) : feed.next());
      if (!embeddings.requires_grad())
        continue;  // no trained parameter is involved: e.g. texts, if only the vision tower is trained
      embeddings.backward(cache.rows(begin, row));
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

FirstChunks read_first_chunks(const Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options) {
  FirstChunks first{chunk_rows(encoder, queries, {options.query_chunk, options.chunk_tokens}),
                    chunk_rows(encoder, targets, {options.target_chunk, options.chunk_tokens}),
                    {},
                    {}};
  const auto read = [&](const ChunkedRows& rows) {
    return Ahead<TokenBatch>::made([&] { return encoder.prepare(rows.chunk(0)); });
  };
  first.query = read(first.queries), first.target = read(first.targets);
  return first;
}

ContrastiveResult contrastive_step(Encoder& encoder, Rows queries, Rows targets, const ContrastiveOptions& options,
                                   FirstChunks first) {
  Stopwatch watch;
  ContrastiveResult result;
  if (first.queries.rows.empty()) {
    first.queries = chunk_rows(encoder, queries, {options.query_chunk, options.chunk_tokens});
    first.targets = chunk_rows(encoder, targets, {options.target_chunk, options.chunk_tokens});
  }
  Room room{options.keep_bytes, options.tape_bytes};
  EmbeddedSide q(std::move(first.queries), std::move(first.query)),
      t(std::move(first.targets), std::move(first.target));
  ChunkFeed feed(encoder, options.then);
  for (EmbeddedSide* side : {&q, &t}) feed.add(side->chunks);
  q.embed(encoder, feed, options.comm, queries, room, result.cut);
  t.embed(encoder, feed, options.comm, targets, room, result.cut);
  result.kept_bytes = options.keep_bytes - room.prepared;
  result.kept_tapes = options.tape_bytes - room.tapes;
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
