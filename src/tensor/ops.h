// The vocabulary of the program: all operations on tensors. Each function checks shapes, allocates its result and runs
// one kernel. Only functions named *_to write into an existing tensor: they add to their last argument.
#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec {

Tensor add(const Tensor& a, const Tensor& b);
void add_to(const Tensor& x, const Tensor& y);  // y += x
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double factor);
Tensor scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias = {});  // x·diag(factors) (+ bias)
Tensor activate(const Tensor& x, Activation f);
Tensor activate_dx(const Tensor& dy, const Tensor& x, Activation f);
Tensor swiglu(const Tensor& gate, const Tensor& up);
std::pair<Tensor, Tensor> swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up);
Tensor swiglu(const Tensor& gate_up);  // side by side in each row
Tensor swiglu_backward(const Tensor& dy, const Tensor& gate_up);
Tensor dropout(const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed);

void column_sums_to(const Tensor& x, const Tensor& sums);
Tensor squared_norm(const Tensor& x);  // Σ x², [1] on the device
double sum_of_squares(const Tensor& x);
Tensor mean(const Tensor& x);  // [1]
Tensor row_squares(const Tensor& x);  // f64 [rows]: Σ_c x[r, c]²
// ‖W + s·BA‖ of each row [out], and one by it, from row_squares(W), B [out, r], A Wᵀ [r, out] and B A Aᵀ [out, r].
struct RowNorms {
  Tensor norms, inverse;
};
RowNorms dora_norms(const Tensor& b, const Tensor& squares, const Tensor& aw, const Tensor& baa, double scaling);

// table [rows, d], ids i32 [n] → [n, d] in the table's type, or in another.
Tensor gather_rows(const Tensor& table, const Tensor& ids);
Tensor gather_rows(const Tensor& table, const Tensor& ids, DType type);
// ids, shares [n, k] → [n, d] in the type of the shares: Σ_j shares[i, j]·table[ids[i, j]].
Tensor blend_rows(const Tensor& table, const Tensor& ids, const Tensor& shares);
void scatter_add_rows_to(const Tensor& dy, const Tensor& ids, const Tensor& dtable, const Tensor& shares = {});
Tensor replace_rows(const Tensor& x, const Tensor& rows, const Tensor& source);
Tensor clear_rows(const Tensor& x, const Tensor& rows);
Tensor concat_rows(const std::vector<Tensor>& parts);

// op(a)·op(b) (+ bias on every row); matrices are the flattened [rows, columns] of their tensors. The result has acc
// type, or `type`: bf16 of two bf16 factors.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false,
              const Tensor& bias = {}, std::optional<DType> type = {});
void matmul_to(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, const Tensor& c);  // c += …

struct Normed {
  Tensor y, rstd;
};
Normed rms_norm(const Tensor& x, const Tensor& w, double eps);
struct SumNormed {
  Tensor sum, y, rstd;
};
SumNormed add_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps);  // of sum = x + added
// … + before, if it is defined
Tensor rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before = {});
void rms_norm_dw_to(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& dw);
struct LayerNormed {
  Tensor y, mean, rstd;
};
LayerNormed layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps);
struct SumLayerNormed {
  Tensor sum, y, mean, rstd;
};
SumLayerNormed add_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps);
Tensor layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                     const Tensor& before = {});
void layer_norm_dw_to(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dw);
struct L2Normalized {
  Tensor y, norm;
};
L2Normalized l2_normalize(const Tensor& x, double eps);  // y has acc type
Tensor l2_normalize_dx(const Tensor& dy, const Tensor& y, const Tensor& norm, double eps, DType type);

// Angles of a rotary embedding, one row per token: [rows, head_dim / 2].
struct RopeTable {
  Tensor cos, sin;
};
Tensor rope(const Tensor& x, const RopeTable& table, int heads, bool inverse = false);

struct AttentionResult {
  Tensor o, lse;
};
AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
                          const AttentionShape& shape);
// Returns dq, dk, dv in the shapes of q, k, v. If two of q, k, v are one tensor (a fused projection), so are their
// gradients.
std::vector<Tensor> attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v,
                                       const AttentionResult& forward, const Tensor& cu_q, const Tensor& cu_k,
                                       const AttentionShape& shape);

struct InfoNce {
  Tensor loss, lse, best;
};  // per query
// Query i belongs to target labels[i]; without labels, to target i·(N/B) of N. With groups, the other targets in the
// label's group do not count.
struct Matching {
  Tensor labels, groups;  // i32 [B] and i32 [N], or undefined
};
// With bf16_scores, scores are computed from q and t rounded to bf16.
InfoNce infonce(const Tensor& q, const Tensor& t, double inverse_tau, const Matching& matching = {},
                bool bf16_scores = false);
std::pair<Tensor, Tensor> infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& lse,
                                           double inverse_tau, const Matching& matching = {},
                                           bool bf16_scores = false);

}  // namespace vlm2vec
