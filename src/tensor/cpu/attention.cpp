// Attention over packed sequences. A task is one sequence and one key-value head; the forward also splits the queries
// into blocks. Tasks are independent, so any thread may run any task.
#include <algorithm>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec::cpu {
namespace {

constexpr int64_t query_block = 192;  // enough to pay for transposing the keys
constexpr int64_t key_block = 256;    // whole tiles of keys

struct Task {
  int kv_head;
  int64_t q_begin, q_end, k_begin, k_end;  // rows
  int64_t cost_before;                     // products in all tasks before this one
  int64_t first_key = 0;                   // backward: of the keys to look at, counted from k_begin
  bool dq = true, dkv = true;              // backward: what to compute
};

const int32_t* boundaries(const char* what, const Tensor& cu, const Tensor& rows) {
  const int32_t* b = cu.data<int32_t>();
  const int64_t n = cu.numel();
  CHECK(n > 0 && b[0] == 0 && b[n - 1] == rows.rows() && std::is_sorted(b, b + n), "attention: ", what, " ends at ",
        n ? b[n - 1] : 0, ", expected rising numbers from 0 to the rows of ", rows);
  return b;
}

// If causal, a query sees the keys up to its own position, so a block needs the keys up to its last query only. A
// sequence without queries is a task too: its keys get zero gradients.
std::vector<Task> tasks_of(const Tensor& q, const Tensor& k, const Tensor& cu_q, const Tensor& cu_k,
                           const AttentionShape& s, int64_t block) {
  const int32_t *bq = boundaries("cu_q", cu_q, q), *bk = boundaries("cu_k", cu_k, k);
  std::vector<Task> tasks;
  tasks.reserve(size_t(cu_q.numel() * s.kv_heads));
  int64_t cost = 0;
  for (int64_t i = 0; i + 1 < cu_q.numel(); ++i)
    for (int64_t begin = bq[i]; begin < bq[i + 1] || begin == bq[i]; begin += block)
      for (int head = 0; head < s.kv_heads; ++head) {
        const int64_t end = std::min<int64_t>(begin + block, bq[i + 1]), unseen = s.causal ? bq[i + 1] - end : 0;
        const int64_t keys_end = std::max<int64_t>(bk[i], bk[i + 1] - unseen);
        tasks.push_back({head, begin, end, bk[i], keys_end, cost});
        cost += (end - begin + 1) * (keys_end - bk[i] + 1) * s.head_dim * (s.heads / s.kv_heads);
      }
  tasks.push_back({0, 0, 0, 0, 0, cost});
  return tasks;
}

// The tasks of the backward: dk and dv are sums over all queries of a sequence, dq over all keys, so that scores are
// computed once if one task has them all. If such a task were more than two threads' share, its keys and its queries
// are split: dk and dv by blocks of keys, dq by blocks of queries; the sums have the same order.
std::vector<Task> backward_tasks(const Tensor& q, const Tensor& k, const Tensor& cu_q, const Tensor& cu_k,
                                 const AttentionShape& s) {
  std::vector<Task> whole = tasks_of(q, k, cu_q, cu_k, s, q.rows() + 1);
  int64_t largest = 0;
  for (size_t i = 0; i + 1 < whole.size(); ++i)
    largest = std::max(largest, whole[i + 1].cost_before - whole[i].cost_before);
  if (largest * threads() <= 2 * whole.back().cost_before) return whole;
  std::vector<Task> tasks = tasks_of(q, k, cu_q, cu_k, s, query_block);
  int64_t cost = tasks.back().cost_before;
  tasks.pop_back();
  for (Task& t : tasks) t.dkv = false;
  for (Task& t : whole)
    for (t.dq = false, t.first_key = 0; t.first_key < t.k_end - t.k_begin; t.first_key += key_block) {
      t.cost_before = cost;
      cost += (t.q_end - t.q_begin + 1) * key_block * s.head_dim * (s.heads / s.kv_heads);
      tasks.push_back(t);
    }
  tasks.push_back({0, 0, 0, 0, 0, cost});
  return tasks;
}

// Runs f(task) for all tasks in ranges of equal cost; a task belongs to the range in which its cost begins.
template <class F>
void parallel_tasks(const std::vector<Task>& tasks, F&& f) {
  constexpr int64_t cost_grain = 1 << 18;
  parallel_for(tasks.back().cost_before, cost_grain, [&](int64_t begin, int64_t end) {
    auto task = std::lower_bound(tasks.begin(), tasks.end() - 1, begin,
                                 [](const Task& t, int64_t c) { return t.cost_before < c; });
    for (; task != tasks.end() - 1 && task->cost_before < end; ++task) f(*task);
  });
}

// Says where a head's columns begin in a row.
struct Columns {
  float* data;
  int64_t stride;
  Columns(const char* op, const Tensor& x, int column) : data(f32(op, x) + column), stride(x.columns()) {}
  float* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};

struct Operands {
  Columns q, k, v, o;
  float* lse;
  int64_t rows;
  AttentionShape shape;

  Operands(const char* op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
           const AttentionShape& s)
      : q(op, q, s.q_column),
        k(op, k, s.k_column),
        v(op, v, s.v_column),
        o(op, o, 0),
        lse(f32(op, lse)),
        rows(q.rows()),
        shape(s) {}
  int group() const { return shape.heads / shape.kv_heads; }
  int64_t kv_column(const Task& t) const { return int64_t(t.kv_head) * shape.head_dim; }
  int64_t q_column(const Task& t) const { return kv_column(t) * group(); }
  AttentionTask task(const Task& t) const {
    return {.nq = t.q_end - t.q_begin,
            .nk = t.k_end - t.k_begin,
            .group = group(),
            .head_dim = shape.head_dim,
            .causal = shape.causal,
            .scale = float(shape.scale),
            .q = q.at(t.q_begin, q_column(t)),
            .k = k.at(t.k_begin, kv_column(t)),
            .v = v.at(t.k_begin, kv_column(t)),
            .q_stride = q.stride,
            .k_stride = k.stride,
            .v_stride = v.stride,
            .o = o.at(t.q_begin, q_column(t)),
            .lse = lse + t.kv_head * group() * rows + t.q_begin,
            .o_stride = o.stride,
            .lse_stride = rows,
            .window = shape.window};
  }
};

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
               AttentionShape shape, const Tensor& o, const Tensor& lse) {
  const Operands operands("attention", q, k, v, o, lse, shape);
  const auto run = shape.bf16_products && simd().attention_bf16 ? simd().attention_bf16 : simd().attention;
  parallel_tasks(tasks_of(q, k, cu_q, cu_k, shape, query_block), [&](const Task& t) { run(operands.task(t)); });
}

void attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                        const Tensor& lse, const Tensor& cu_q, const Tensor& cu_k, AttentionShape shape,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const char* op = "attention_backward";
  const Operands in(op, q, k, v, o, lse, shape);
  const Columns g(op, d_o, 0), to_q(op, dq, shape.q_column), to_k(op, dk, shape.k_column), to_v(op, dv, shape.v_column);
  const auto run =
      shape.bf16_products && simd().attention_bf16 ? simd().attention_bf16_backward : simd().attention_backward;
  parallel_tasks(backward_tasks(q, k, cu_q, cu_k, shape), [&](const Task& t) {
    run(in.task(t), {.d_o = g.at(t.q_begin, in.q_column(t)),
                     .dq = t.dq ? to_q.at(t.q_begin, in.q_column(t)) : nullptr,
                     .dk = t.dkv ? to_k.at(t.k_begin, in.kv_column(t)) : nullptr,
                     .dv = t.dkv ? to_v.at(t.k_begin, in.kv_column(t)) : nullptr,
                     .do_stride = g.stride,
                     .dq_stride = to_q.stride,
                     .dk_stride = to_k.stride,
                     .dv_stride = to_v.stride,
                     .k_begin = t.first_key,
                     .k_end = t.dq ? t.k_end - t.k_begin : std::min(t.first_key + key_block, t.k_end - t.k_begin)});
  });
}

}  // namespace vlm2vec::cpu
