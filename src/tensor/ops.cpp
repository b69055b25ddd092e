#include "tensor/ops.h"

#include "tensor/infonce_memory.h"

namespace vlm2vec {
namespace {

void check_same(const char* op, const Tensor& a, const Tensor& b) {
  CHECK(a.shape() == b.shape() && a.dtype() == b.dtype(), op, ": ", a, " and ", b,
        "; both must have the same shape and type");
}
void check_columns(const char* op, const char* what, const Tensor& w, const Tensor& x) {
  CHECK(w.numel() == x.columns(), op, ": ", what, " is ", w, ", x is ", x, "; one value per column is needed");
}
Tensor row_statistic(const Tensor& x) { return Tensor({x.rows()}, acc_of(x.dtype()), x.device()); }

}  // namespace

bool is_dry_run() { return DryRun::on(); }
void check_device(const Tensor& first, const Tensor& other) {
  CHECK(!first || !other || first.device() == other.device(), running_kernel, ": ", first, " lies on ",
        name_of(first.device()), ", ", other, " on ", name_of(other.device()));
}
Backend backend_of(const Tensor& first) {
  if (first.device() == Device::cuda) return Backend::gpu;
  return first.device() == Device::cpu && first.dtype() != DType::f64 ? Backend::cpu : Backend::emu;
}

Tensor add(const Tensor& a, const Tensor& b) {
  check_same("add", a, b);
  Tensor y = empty_like(a);
  kernel::add(a, b, y);
  return y;
}
void add_to(const Tensor& x, const Tensor& y) {
  check_same("add_to", x, y);
  kernel::add_to(x, y);
}
Tensor multiply(const Tensor& a, const Tensor& b) {
  check_same("multiply", a, b);
  Tensor y = empty_like(a);
  kernel::multiply(a, b, y);
  return y;
}
Tensor scale(const Tensor& x, double factor) {
  Tensor y = empty_like(x);
  kernel::scale(x, factor, y);
  return y;
}
Tensor scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias) {
  check_columns("scale_columns", "the factor", factors, x);
  if (bias) check_columns("scale_columns", "the bias", bias, x);
  Tensor y = empty_like(x);
  kernel::scale_columns(x, factors, bias, y);
  return y;
}
Tensor activate(const Tensor& x, Activation f) {
  Tensor y = empty_like(x);
  kernel::activate(x, f, y);
  return y;
}
Tensor activate_dx(const Tensor& dy, const Tensor& x, Activation f) {
  check_same("activate_dx", dy, x);
  Tensor dx = empty_like(x);
  kernel::activate_dx(dy, x, f, dx);
  return dx;
}
Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_same("swiglu", gate, up);
  Tensor y = empty_like(gate);
  kernel::swiglu(gate, up, y);
  return y;
}
std::pair<Tensor, Tensor> swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  check_same("swiglu_backward", dy, gate);
  Tensor dgate = empty_like(gate), dup = empty_like(up);
  kernel::swiglu_backward(dy, gate, up, dgate, dup);
  return {dgate, dup};
}
Tensor swiglu(const Tensor& gate_up) {
  CHECK(gate_up.columns() % 2 == 0, "swiglu: ", gate_up, " has an odd number of columns");
  const Tensor y({gate_up.rows(), gate_up.columns() / 2}, gate_up.dtype(), gate_up.device());
  kernel::packed_swiglu(gate_up, y);
  return y;
}
Tensor swiglu_backward(const Tensor& dy, const Tensor& gate_up) {
  CHECK(dy.rows() == gate_up.rows() && 2 * dy.columns() == gate_up.columns(), "swiglu_backward: dy is ", dy,
        ", gate and up ", gate_up);
  Tensor dgate_up = empty_like(gate_up);
  kernel::packed_swiglu_backward(dy, gate_up, dgate_up);
  return dgate_up;
}
Tensor dropout(const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed) {
  CHECK(dropout_ids.numel() == x.rows(), "dropout: ", dropout_ids.numel(), " dropout ids for ", x);
  CHECK(0 <= p && p < 1, "dropout: probability ", p, ", expected one from 0 to below 1");
  Tensor y = empty_like(x);
  kernel::dropout(x, dropout_ids, p, seed, y);
  return y;
}

void column_sums_to(const Tensor& x, const Tensor& sums) {
  check_columns("column_sums", "the sum", sums, x);
  kernel::column_sums(x, sums);
}
Tensor squared_norm(const Tensor& x) {
  Tensor sum({1}, acc_of(x.dtype()), x.device());
  kernel::sum_of_squares(x, sum);
  return sum;
}
double sum_of_squares(const Tensor& x) { return item(squared_norm(x)); }

Tensor mean(const Tensor& x) {
  Tensor y({1}, x.dtype(), x.device());
  kernel::mean(x, y);
  return y;
}

Tensor row_squares(const Tensor& x) {
  Tensor squares({x.rows()}, DType::f64, x.device());
  kernel::row_squares(x, squares);
  return squares;
}

RowNorms dora_norms(const Tensor& b, const Tensor& squares, const Tensor& aw, const Tensor& baa, double scaling) {
  CHECK(squares.numel() == b.rows() && aw.shape() == (Shape{b.columns(), b.rows()}) && baa.shape() == b.shape(),
        "dora_norms: b is ", b, ", the squares ", squares, ", A Wᵀ ", aw, ", B A Aᵀ ", baa, "; they do not fit");
  RowNorms r{Tensor({b.rows()}, b.dtype(), b.device()), Tensor({b.rows()}, b.dtype(), b.device())};
  kernel::dora_norms(b, squares, aw, baa, scaling, r.norms, r.inverse);
  return r;
}

Tensor gather_rows(const Tensor& table, const Tensor& ids) { return gather_rows(table, ids, table.dtype()); }
Tensor gather_rows(const Tensor& table, const Tensor& ids, DType type) {
  Tensor y({ids.numel(), table.columns()}, type, table.device());
  kernel::gather_rows(table, ids, Tensor(), y);
  return y;
}
Tensor blend_rows(const Tensor& table, const Tensor& ids, const Tensor& shares) {
  CHECK(ids.shape() == shares.shape(), "blend_rows: ids ", ids, ", shares ", shares);
  Tensor y({ids.rows(), table.columns()}, shares.dtype(), table.device());
  kernel::gather_rows(table, ids, shares, y);
  return y;
}
void scatter_add_rows_to(const Tensor& dy, const Tensor& ids, const Tensor& dtable, const Tensor& shares) {
  CHECK(dy.columns() == dtable.columns() && (shares.defined() ? shares.rows() : ids.numel()) == dy.rows() &&
            (!shares.defined() || shares.shape() == ids.shape()),
        "scatter_add_rows: ", dy, " by ", ids, " into ", dtable);
  kernel::scatter_add_rows(dy, ids, shares, dtable);
}
Tensor replace_rows(const Tensor& x, const Tensor& rows, const Tensor& source) {
  CHECK(source.columns() == x.columns() && rows.numel() == source.rows(), "replace_rows: ", rows.numel(), " rows of ",
        x, " by ", source);
  Tensor y = empty_like(x);
  kernel::replace_rows(x, rows, source, y);
  return y;
}
Tensor clear_rows(const Tensor& x, const Tensor& rows) {
  Tensor y = empty_like(x);
  kernel::clear_rows(x, rows, y);
  return y;
}
Tensor concat_rows(const std::vector<Tensor>& parts) {
  CHECK(!parts.empty(), "concat_rows: nothing to join");
  Shape shape = parts[0].shape();
  shape[0] = 0;
  for (const Tensor& part : parts) {
    CHECK(part.dtype() == parts[0].dtype() && part.rows() * parts[0].columns() == part.numel(),
          "concat_rows: ", parts[0], " and ", part, " differ in columns or type");
    shape[0] += part.dim(0);
  }
  Tensor y(shape, parts[0].dtype(), parts[0].device());
  int64_t row = 0;
  for (const Tensor& part : parts) {
    copy_bytes(part, y.rows(row, row + part.dim(0)));
    row += part.dim(0);
  }
  return y;
}

namespace {
Shape matmul_shape(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const int64_t m = transpose_a ? a.columns() : a.rows(), ka = transpose_a ? a.rows() : a.columns();
  const int64_t n = transpose_b ? b.rows() : b.columns(), kb = transpose_b ? b.columns() : b.rows();
  CHECK(ka == kb, "matmul: a is ", a, transpose_a ? " transposed" : "", ", b is ", b, transpose_b ? " transposed" : "",
        "; the inner dimensions ", ka, " and ", kb, " differ");
  CHECK(a.dtype() == b.dtype() || (a.dtype() == DType::f32 && (b.dtype() == DType::bf16 || b.dtype() == DType::f16)),
        "matmul: ", a, " and ", b, "; expected one type, or f32 and bf16 or f16");
  return {m, n};
}
}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, const Tensor& bias,
              std::optional<DType> type) {
  Tensor c(matmul_shape(a, b, transpose_a, transpose_b), type.value_or(acc_of(a.dtype())), a.device());
  const bool narrow = a.dtype() == DType::bf16 && b.dtype() == DType::bf16 && c.dtype() == DType::bf16;
  CHECK(narrow || c.dtype() == acc_of(a.dtype()),
        "matmul: ", a, " and ", b, " do not give ", c);
  if (bias) check_columns("matmul", "the bias", bias, c);
  kernel::matmul(a, b, bias, {transpose_a, transpose_b, false}, c);
  return c;
}
void matmul_to(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, const Tensor& c) {
  CHECK(matmul_shape(a, b, transpose_a, transpose_b) == (Shape{c.rows(), c.columns()}), "matmul: ", a, " and ", b,
        " do not give ", c);
  kernel::matmul(a, b, {}, {transpose_a, transpose_b, true}, c);
}

Normed rms_norm(const Tensor& x, const Tensor& w, double eps) {
  check_columns("rms_norm", "the weight", w, x);
  Normed r{empty_like(x), row_statistic(x)};
  kernel::rms_norm(x, w, eps, r.y, r.rstd);
  return r;
}
SumNormed add_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps) {
  check_same("add_rms_norm", x, added);
  check_columns("add_rms_norm", "the weight", w, x);
  SumNormed r{empty_like(x), empty_like(x), row_statistic(x)};
  kernel::add_rms_norm(x, added, w, eps, r.sum, r.y, r.rstd);
  return r;
}
Tensor rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before) {
  check_same("rms_norm_dx", dy, x);
  if (before) check_same("rms_norm_dx", before, x);
  Tensor dx = empty_like(x);
  kernel::rms_norm_dx(dy, x, w, rstd, before, dx);
  return dx;
}
void rms_norm_dw_to(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& dw) {
  check_columns("rms_norm_dw", "the gradient", dw, x);
  kernel::rms_norm_dw(dy, x, rstd, dw);
}

LayerNormed layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  check_columns("layer_norm", "the weight", w, x);
  check_columns("layer_norm", "the bias", b, x);
  LayerNormed r{empty_like(x), row_statistic(x), row_statistic(x)};
  kernel::layer_norm(x, w, b, eps, r.y, r.mean, r.rstd);
  return r;
}
SumLayerNormed add_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps) {
  check_same("add_layer_norm", x, added);
  check_columns("add_layer_norm", "the weight", w, x);
  check_columns("add_layer_norm", "the bias", b, x);
  SumLayerNormed r{empty_like(x), empty_like(x), row_statistic(x), row_statistic(x)};
  kernel::add_layer_norm(x, added, w, b, eps, r.sum, r.y, r.mean, r.rstd);
  return r;
}
Tensor layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                     const Tensor& before) {
  check_same("layer_norm_dx", dy, x);
  if (before) check_same("layer_norm_dx", before, x);
  Tensor dx = empty_like(x);
  kernel::layer_norm_dx(dy, x, w, mean, rstd, before, dx);
  return dx;
}
void layer_norm_dw_to(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dw) {
  check_columns("layer_norm_dw", "the gradient", dw, x);
  kernel::layer_norm_dw(dy, x, mean, rstd, dw);
}

L2Normalized l2_normalize(const Tensor& x, double eps) {
  L2Normalized r{Tensor(x.shape(), acc_of(x.dtype()), x.device()), row_statistic(x)};
  kernel::l2_normalize(x, eps, r.y, r.norm);
  return r;
}
Tensor l2_normalize_dx(const Tensor& dy, const Tensor& y, const Tensor& norm, double eps, DType type) {
  check_same("l2_normalize_dx", dy, y);
  Tensor dx(y.shape(), type, y.device());
  kernel::l2_normalize_dx(dy, y, norm, eps, dx);
  return dx;
}

Tensor rope(const Tensor& x, const RopeTable& table, int heads, bool inverse) {
  const int head_dim = int(2 * table.cos.columns());
  CHECK(table.cos.rows() == x.rows() && int64_t(heads) * head_dim <= x.columns(), "rope: x is ", x, ", the angles ",
        table.cos, " for ", heads, " heads");
  Tensor y = empty_like(x);
  kernel::rope(x, table.cos, table.sin, heads, head_dim, inverse, y);
  return y;
}

namespace {
void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
                     const AttentionShape& s) {
  CHECK(s.kv_heads > 0 && s.heads % s.kv_heads == 0, "attention: ", s.heads, " heads cannot share ", s.kv_heads,
        " key-value heads");
  CHECK(s.q_column + s.heads * s.head_dim <= q.columns() && s.k_column + s.kv_heads * s.head_dim <= k.columns() &&
            s.v_column + s.kv_heads * s.head_dim <= v.columns() && k.rows() == v.rows(),
        "attention: q ", q, ", k ", k, ", v ", v, " do not hold ", s.heads, " and ", s.kv_heads, " heads of ",
        s.head_dim);
  CHECK(s.window == 0 || (s.causal && s.window > 0), "attention: a window of ", s.window,
        " keys, expected 0, or more with a causal mask");
  // Heads of q, k and v may share a tensor but must not overlap: their gradients would be written twice.
  struct Heads {
    const Tensor& x;
    int64_t begin, end;
  };
  const int64_t width = int64_t(s.head_dim) * s.heads, kv_width = int64_t(s.head_dim) * s.kv_heads;
  const Heads all[] = {{q, s.q_column, s.q_column + width},
                       {k, s.k_column, s.k_column + kv_width},
                       {v, s.v_column, s.v_column + kv_width}};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < i; ++j)
      CHECK(all[i].x.raw() != all[j].x.raw() || all[i].begin >= all[j].end || all[j].begin >= all[i].end,
            "attention: columns of q, k and v in one tensor overlap");
  CHECK(cu_q.numel() == cu_k.numel(), "attention: ", cu_q.numel() - 1, " query and ", cu_k.numel() - 1,
        " key sequences");
}
}  // namespace

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
                          const AttentionShape& shape) {
  check_attention(q, k, v, cu_q, cu_k, shape);
  AttentionResult r{Tensor({q.rows(), int64_t(shape.heads) * shape.head_dim}, q.dtype(), q.device()),
                    Tensor({shape.heads, q.rows()}, acc_of(q.dtype()), q.device())};
  kernel::attention(q, k, v, cu_q, cu_k, shape, r.o, r.lse);
  return r;
}
std::vector<Tensor> attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v,
                                       const AttentionResult& forward, const Tensor& cu_q, const Tensor& cu_k,
                                       const AttentionShape& shape) {
  check_same("attention_backward", d_o, forward.o);
  // Kernels write only the columns of the heads; other columns do not affect the result.
  const auto gradient = [](const Tensor& x, int64_t columns) {
    return columns == x.columns() ? empty_like(x) : zeros(x.shape(), x.dtype(), x.device());
  };
  const int64_t q_columns = int64_t(shape.heads) * shape.head_dim,
                kv_columns = int64_t(shape.kv_heads) * shape.head_dim;
  const bool k_in_q = k.raw() == q.raw(), v_in_q = v.raw() == q.raw(), v_in_k = v.raw() == k.raw();
  const Tensor dq = gradient(q, q_columns + (k_in_q + v_in_q) * kv_columns);
  const Tensor dk = k_in_q ? dq : gradient(k, kv_columns + v_in_k * kv_columns);
  const Tensor dv = v_in_q ? dq : v_in_k ? dk : gradient(v, kv_columns);
  kernel::attention_backward(d_o, q, k, v, forward.o, forward.lse, cu_q, cu_k, shape, dq, dk, dv);
  return {dq, dk, dv};
}

namespace {

// Returns the labels that `matching` gives or implies.
Tensor labels_of(const Tensor& q, const Tensor& t, const Matching& matching) {
  if (matching.labels.defined()) return matching.labels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < q.rows(); ++i) labels.push_back(int32_t(i * (t.rows() / q.rows())));
  return from_vector(labels, {q.rows()}, q.device());
}
}  // namespace

namespace {
InfoNceMemory memory_of(const Tensor& q, const Tensor& t, bool bf16_scores) {
  return infonce_memory(q.rows(), t.rows(), q.columns(), bf16_scores, q.device() == Device::cpu);
}
// In a dry run, where no kernel runs, counts the bytes that one would take.
void count_if_dry(int64_t bytes, Device device) {
  if (is_dry_run()) Tensor({bytes}, DType::u8, device);
}
}  // namespace

InfoNce infonce(const Tensor& q, const Tensor& t, double inverse_tau, const Matching& matching, bool bf16_scores) {
  const bool labelled = matching.labels.defined();
  CHECK(q.columns() == t.columns() && q.rows() > 0 && (labelled || t.rows() % q.rows() == 0) && q.dtype() == t.dtype(),
        "infonce: ", q.rows(), " queries of ", q.columns(), " and ", t.rows(), " targets of ", t.columns(),
        "; the targets must be a multiple of the queries, with the same width and type");
  CHECK(!labelled || matching.labels.numel() == q.rows(), "infonce: ", matching.labels.numel(), " labels of ", q.rows(),
        " queries");
  CHECK(!matching.groups.defined() || matching.groups.numel() == t.rows(), "infonce: ", matching.groups.numel(),
        " groups of ", t.rows(), " targets");
  InfoNce r{row_statistic(q), row_statistic(q), Tensor({q.rows()}, DType::i32, q.device())};
  const InfoNceMemory memory = memory_of(q, t, bf16_scores);
  count_if_dry(memory.copies + memory.states, q.device());
  kernel::infonce(q, t, labels_of(q, t, matching), matching.groups, inverse_tau, bf16_scores, r.loss, r.lse, r.best);
  return r;
}
std::pair<Tensor, Tensor> infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& lse,
                                           double inverse_tau, const Matching& matching, bool bf16_scores) {
  Tensor dq = empty_like(q), dt = empty_like(t);
  const InfoNceMemory memory = memory_of(q, t, bf16_scores);
  count_if_dry(memory.copies + memory.scores, q.device());
  kernel::infonce_backward(dloss, q, t, labels_of(q, t, matching), matching.groups, lse, inverse_tau,
                           bf16_scores, dq, dt);
  return {dq, dt};
}

}  // namespace vlm2vec
