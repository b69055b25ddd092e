// The formula sheet: each op's forward line and, below it, one formula per input. Capital letters are values. [=]
// copies handles: the backward pass keeps only the tensors that a formula names.
#include "autograd/ops.h"

namespace vlm2vec {

namespace {
Var sum_of(const Var& a, const Var& b, const Tensor& sum) {
  const auto pass = [](const Tensor& dy) { return dy; };
  return record("add", sum, {{a, Vjp(pass)}, {b, Vjp(pass)}});
}
}  // namespace
Var add(const Var& a, const Var& b) { return sum_of(a, b, add(a.value(), b.value())); }

Var multiply(const Var& a, const Var& b) {
  const Tensor A = a.value(), B = b.value();
  return record(
      "multiply", multiply(A, B),
      {{a, [=](const Tensor& dy) { return multiply(dy, B); }}, {b, [=](const Tensor& dy) { return multiply(dy, A); }}});
}

Var scale(const Var& x, double factor) {
  return record("scale", scale(x.value(), factor), {{x, [=](const Tensor& dy) { return scale(dy, factor); }}});
}

Var scale_columns(const Var& x, const Var& factors, const Var& bias) {
  const Tensor X = x.value(), F = factors.value();
  const auto column_sums = [](const Tensor& t, const Tensor& like) {
    const Tensor sums = zeros(like.shape(), like.dtype(), like.device());
    column_sums_to(t, sums);
    return sums;
  };
  return record("scale_columns", scale_columns(X, F, bias.value()),
                {{x, [=](const Tensor& dy) { return scale_columns(dy, F); }},
                 {factors, [=](const Tensor& dy) { return column_sums(multiply(dy, X), F); }},
                 {bias, [](const Tensor& dy, const Tensor& db) { column_sums_to(dy, db); }}});
}

Var activate(const Var& x, Activation f) {
  const Tensor X = x.value();
  return record("activate", activate(X, f), {{x, [=](const Tensor& dy) { return activate_dx(dy, X, f); }}});
}

Var swiglu(const Var& gate, const Var& up) {
  const Tensor G = gate.value(), U = up.value();
  return record("swiglu", {swiglu(G, U)}, {gate, up}, [=](const std::vector<Tensor>& dys, const std::vector<bool>&) {
    auto [dgate, dup] = swiglu_backward(dys[0], G, U);
    return std::vector<Tensor>{std::move(dgate), std::move(dup)};
  })[0];
}

Var swiglu(const Var& gate_up) {
  const Tensor X = gate_up.value();
  return record("swiglu", swiglu(X), {{gate_up, [=](const Tensor& dy) { return swiglu_backward(dy, X); }}});
}

Var dropout(const Var& x, const Tensor& dropout_ids, double p, uint64_t seed) {
  return record("dropout", dropout(x.value(), dropout_ids, p, seed),
                {{x, [=](const Tensor& dy) { return dropout(dy, dropout_ids, p, seed); }}});
}

Var view(const Var& x, Shape shape) {
  const Shape before = x.shape();
  return record("view", x.value().view(std::move(shape)), {{x, [=](const Tensor& dy) { return dy.view(before); }}});
}

Var to(const Var& x, DType type) {
  const DType before = x.value().dtype();
  return record("to", x.value().to(type), {{x, [=](const Tensor& dy) { return dy.to(before); }}});
}

Var gather_rows(const Var& x, const Tensor& ids) { return gather_rows(x, ids, x.value().dtype()); }
Var gather_rows(const Var& table, const Tensor& ids, DType type) {
  return record("gather_rows", gather_rows(table.value(), ids, type),
                {{table, [=](const Tensor& dy, const Tensor& dtable) { scatter_add_rows_to(dy, ids, dtable); }}});
}

Var blend_rows(const Var& table, const Tensor& ids, const Tensor& shares) {
  const auto add = [=](const Tensor& dy, const Tensor& dtable) { scatter_add_rows_to(dy, ids, dtable, shares); };
  return record("blend_rows", blend_rows(table.value(), ids, shares), {{table, add}});
}

Var replace_rows(const Var& x, const Tensor& rows, const Var& source) {
  return record("replace_rows", replace_rows(x.value(), rows, source.value()),
                {{x, [=](const Tensor& dy) { return clear_rows(dy, rows); }},
                 {source, [=](const Tensor& dy) { return gather_rows(dy, rows); }}});
}

Var concat_rows(const std::vector<Var>& parts) {
  std::vector<Tensor> values;
  for (const Var& part : parts) values.push_back(part.value());
  std::vector<int64_t> ends;
  for (const Tensor& value : values) ends.push_back((ends.empty() ? 0 : ends.back()) + value.dim(0));
  return record("concat_rows", {concat_rows(values)}, parts,
                [=](const std::vector<Tensor>& dys, const std::vector<bool>&) {
                  std::vector<Tensor> dparts;
                  for (size_t i = 0; i < ends.size(); ++i) dparts.push_back(dys[0].rows(i ? ends[i - 1] : 0, ends[i]));
                  return dparts;
                })[0];
}

Var matmul(const Var& a, const Var& b) {
  const Tensor A = a.value(), B = b.value();
  return record("matmul", matmul(A, B),
                {{a, [=](const Tensor& dy) { return matmul(dy, B, false, true); }},
                 {b, [=](const Tensor& dy) { return matmul(A, dy, true, false); }}});
}

Var linear(const Var& x, const Var& weight, const Var& bias, bool bf16_products) {
  const DType type = x.value().dtype();
  const auto factor = [narrow = type == DType::bf16 || (bf16_products && type == DType::f32)](const Tensor& t) {
    return narrow ? t.to(DType::bf16) : t;
  };
  const Tensor X = factor(x.value()), W = factor(weight.value());
  return record("linear", matmul(X, W, false, true, bias.value(), type),
                {{x, [=](const Tensor& dy) { return matmul(factor(dy), W, false, false, {}, type); }},
                 {weight, [=](const Tensor& dy, const Tensor& dw) { matmul_to(factor(dy), X, true, false, dw); }},
                 {bias, [](const Tensor& dy, const Tensor& db) { column_sums_to(dy, db); }}});
}

namespace {

// The formulas of norms of x; `before` is the gradient that x has from its other uses.
Var rms_normed(const Var& x, const Var& w, const Tensor& y, const Tensor& rstd) {
  const Tensor X = x.value(), W = w.value();
  const auto dx = [=](const Tensor& dy, const Tensor& before) { return rms_norm_dx(dy, X, W, rstd, before); };
  return record("rms_norm", y,
                {{x, AddVjp(dx)}, {w, [=](const Tensor& dy, const Tensor& dw) { rms_norm_dw_to(dy, X, rstd, dw); }}});
}
Var layer_normed(const Var& x, const Var& w, const Var& b, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const Tensor X = x.value(), W = w.value();
  const auto dx = [=](const Tensor& dy, const Tensor& before) { return layer_norm_dx(dy, X, W, mean, rstd, before); };
  return record("layer_norm", y,
                {{x, AddVjp(dx)},
                 {w, [=](const Tensor& dy, const Tensor& dw) { layer_norm_dw_to(dy, X, mean, rstd, dw); }},
                 {b, [](const Tensor& dy, const Tensor& db) { column_sums_to(dy, db); }}});
}

}  // namespace

Var rms_norm(const Var& x, const Var& w, double eps) {
  const Normed n = rms_norm(x.value(), w.value(), eps);
  return rms_normed(x, w, n.y, n.rstd);
}
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  const LayerNormed n = layer_norm(x.value(), w.value(), b.value(), eps);
  return layer_normed(x, w, b, n.y, n.mean, n.rstd);
}
Residual add_rms_norm(const Var& x, const Var& added, const Var& w, double eps) {
  const SumNormed n = add_rms_norm(x.value(), added.value(), w.value(), eps);
  const Var sum = sum_of(x, added, n.sum);
  return {sum, rms_normed(sum, w, n.y, n.rstd)};
}
Residual add_layer_norm(const Var& x, const Var& added, const Var& w, const Var& b, double eps) {
  const SumLayerNormed n = add_layer_norm(x.value(), added.value(), w.value(), b.value(), eps);
  const Var sum = sum_of(x, added, n.sum);
  return {sum, layer_normed(sum, w, b, n.y, n.mean, n.rstd)};
}

Var l2_normalize(const Var& x, double eps) {
  const L2Normalized forward = l2_normalize(x.value(), eps);
  return record("l2_normalize", forward.y,
                {{x, [=, type = x.value().dtype()](const Tensor& dy) {
                    return l2_normalize_dx(dy, forward.y, forward.norm, eps, type);
                  }}});
}

Var rope(const Var& x, const RopeTable& table, int heads) {
  return record("rope", rope(x.value(), table, heads),
                {{x, [=](const Tensor& dy) { return rope(dy, table, heads, true); }}});
}

Var attention(const Var& q, const Var& k, const Var& v, const Tensor& cu_q, const Tensor& cu_k,
              const AttentionShape& shape) {
  const Tensor Q = q.value(), K = k.value(), V = v.value();
  const AttentionResult forward = attention(Q, K, V, cu_q, cu_k, shape);
  return record("attention", {forward.o}, {q, k, v}, [=](const std::vector<Tensor>& dys, const std::vector<bool>&) {
    std::vector<Tensor> d = attention_backward(dys[0], Q, K, V, forward, cu_q, cu_k, shape);
    if (d[2].raw() == d[0].raw() || d[2].raw() == d[1].raw()) d[2] = {};  // a shared tensor's gradient counts once
    if (d[1].raw() == d[0].raw()) d[1] = {};
    return d;
  })[0];
}

Var attention(const Var& packed, const Tensor& cu_seqlens, const AttentionShape& shape) {
  const Tensor X = packed.value();
  const AttentionResult forward = attention(X, X, X, cu_seqlens, cu_seqlens, shape);
  return record("attention", forward.o, {{packed, [=](const Tensor& dy) {
                                            return attention_backward(dy, X, X, X, forward, cu_seqlens, cu_seqlens,
                                                                      shape)[0];
                                          }}});
}

Var mean(const Var& x) {
  const Tensor X = x.value();
  const double share = 1 / double(X.numel());
  return record("mean", mean(X), {{x, [=](const Tensor& dy) {
                                     const Tensor shares = full({X.numel(), 1}, share, X.dtype(), X.device());
                                     return scale_columns(shares, dy).view(X.shape());
                                   }}});
}

InfoNceResult info_nce(const Var& queries, const Var& targets, double tau, const Matching& matching,
                       bool bf16_scores) {
  const Tensor Q = queries.value(), T = targets.value();
  const InfoNce forward = infonce(Q, T, 1 / tau, matching, bf16_scores);
  const Tensor lse = forward.lse;
  const Var per_query = record("infonce", {forward.loss}, {queries, targets},
                               [=](const std::vector<Tensor>& dys, const std::vector<bool>&) {
                                 auto [dq, dt] = infonce_backward(dys[0], Q, T, lse, 1 / tau, matching, bf16_scores);
                                 return std::vector<Tensor>{std::move(dq), std::move(dt)};
                               })[0];
  return {mean(per_query), forward.best};
}

}  // namespace vlm2vec
