// The functions of tensor/ops.h on Vars, with their gradients. Shapes are [rows, columns] unless noted.
#pragma once
#include <vector>

#include "autograd/var.h"
#include "tensor/ops.h"

namespace vlm2vec {

Var add(const Var& a, const Var& b);
inline Var operator+(const Var& a, const Var& b) { return add(a, b); }
Var multiply(const Var& a, const Var& b);
inline Var operator*(const Var& a, const Var& b) { return multiply(a, b); }
Var scale(const Var& x, double factor);
Var scale_columns(const Var& x, const Var& factors, const Var& bias = {});  // x·diag(factors) + b
Var activate(const Var& x, Activation f);
Var swiglu(const Var& gate, const Var& up);  // silu(gate)·up (Shazeer 2020)
Var swiglu(const Var& gate_up);              // of gate and up side by side
Var dropout(const Var& x, const Tensor& dropout_ids, double p, uint64_t seed);

Var view(const Var& x, Shape shape);
Var to(const Var& x, DType type);
Var gather_rows(const Var& x, const Tensor& ids);                       // row selection
Var gather_rows(const Var& table, const Tensor& ids, DType type);       // embedding look-up
Var blend_rows(const Var& table, const Tensor& ids, const Tensor& shares);  // weighted sums of rows
Var replace_rows(const Var& x, const Tensor& rows, const Var& source);  // picture features into the token stream
Var concat_rows(const std::vector<Var>& parts);

Var matmul(const Var& a, const Var& b);
// x Wᵀ + b, W [out, in], in the type of x. If x is bf16, so are all factors of this product and of its gradients; with
// bf16_products, the factors are rounded to bf16 for an x in f32. Sums and weight gradients are f32 (f64 stays f64).
Var linear(const Var& x, const Var& weight, const Var& bias = {}, bool bf16_products = false);

Var rms_norm(const Var& x, const Var& w, double eps);                  // Zhang and Sennrich 2019
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps);  // Ba et al. 2016
// A residual connection before a norm: sum = x + added, and its norm.
struct Residual {
  Var sum, normed;
};
Residual add_rms_norm(const Var& x, const Var& added, const Var& w, double eps);
Residual add_layer_norm(const Var& x, const Var& added, const Var& w, const Var& b, double eps);
Var l2_normalize(const Var& x, double eps = 1e-12);                    // rows of length 1, of acc type
Var rope(const Var& x, const RopeTable& table, int heads);             // Su et al. 2021, eq. 34

// softmax(scale·q kᵀ) v on packed rows, without a score matrix (Dao 2023); `packed` holds q, k and v side by side.
Var attention(const Var& q, const Var& k, const Var& v, const Tensor& cu_q, const Tensor& cu_k,
              const AttentionShape& shape);
Var attention(const Var& packed, const Tensor& cu_seqlens, const AttentionShape& shape);

Var mean(const Var& x);                                       // over all elements, [1]

// InfoNCE, query → target (van den Oord et al. 2018; VLM2Vec eq. 2): the mean over queries of −log softmax(q·t / tau)
// at the query's own target. `matching` names this target and the negatives that count (tensor/ops.h). Targets of no
// query are hard negatives.
struct InfoNceResult {
  Var loss;     // [1]
  Tensor best;  // i32 [B]: the target each query scores highest, the first among equals
};
InfoNceResult info_nce(const Var& queries, const Var& targets, double tau, const Matching& matching = {},
                       bool bf16_scores = false);

}  // namespace vlm2vec
