// Shared by the InfoNCE kernels: the scalar ones of infonce.cu, which define the sums, and those on tensor cores.
#pragma once
#include <cstdint>

#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {

// The targets of each query.
struct Matching {
  const int32_t *labels, *groups;  // groups may be null
  __device__ bool counts(int64_t i, int64_t j) const {
    return !groups || j == labels[i] || groups[j] != groups[labels[i]];
  }
};
inline Matching matching_of(const Tensor& labels, const Tensor& groups) {
  return {at<int32_t>(labels), groups.defined() ? at<int32_t>(groups) : nullptr};
}

// The running state over a query's scores: the greatest score, its first target, and Σ exp(score − greatest).
template <class T>
struct Running {
  T top = -INFINITY, sum = 0;
  int32_t best = 0x7FFFFFFF;
  __device__ void add(const Running& other) {
    if (other.sum == 0) return;
    const T new_top = max(top, other.top), base = new_top == -INFINITY ? 0 : new_top;
    sum = sum * exp(top - base) + other.sum * exp(other.top - base);
    if (other.top > top || (other.top == top && other.best < best)) best = other.best;
    top = new_top;
  }
  // Writes the results of query i, whose label has the score `right`.
  __device__ void finish(int64_t i, T right, int64_t targets, T* loss, T* lse, int32_t* first) const {
    lse[i] = top + log(sum);
    loss[i] = lse[i] - right;
    first[i] = best < targets ? best : 0;  // no target if all scores are NaN
  }
};

// infonce_tiles.cu: f32, scores by tensor cores.
void infonce_tiles(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
                   bool bf16_scores, const Tensor& loss, const Tensor& lse, const Tensor& best);
void infonce_tiles_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels,
                            const Tensor& groups, const Tensor& lse, double inverse_tau, bool bf16_scores,
                            const Tensor& dq, const Tensor& dt);

}  // namespace vlm2vec::BACKEND
