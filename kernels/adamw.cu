// One AdamW step over a flat buffer of parameters, in place (Loshchilov and Hutter 2019, algorithm 2).
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

// p ← (1 − lr·wd)·p,   m ← m + (1 − β₁)(g − m),   v ← β₂ v + (1 − β₂) g²,
// p ← p − (lr / (1 − β₁ᵗ)) · m / (√v / √(1 − β₂ᵗ) + eps)        one thread per parameter
// The order of operations is torch's. The host computes all factors shared by the elements in double.
template <class T>
struct Constants {
  T gradient_scale, decay, one_minus_beta1, beta2, one_minus_beta2, rate, root, eps;
  explicit Constants(const AdamWStep& s)
      : gradient_scale(s.gradient_scale),
        decay(1 - s.learning_rate * s.weight_decay),
        one_minus_beta1(1 - s.beta1),
        beta2(s.beta2),
        one_minus_beta2(1 - s.beta2),
        rate(s.learning_rate / s.bias_correction1),
        root(std::sqrt(s.bias_correction2)),
        eps(s.eps) {}
};

template <class T>
__global__ void adamw_kernel(T* p, const T* gradient, T* m, T* v, Constants<T> c, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const T g = gradient[i] * c.gradient_scale;
  m[i] = m[i] + c.one_minus_beta1 * (g - m[i]);
  v[i] = v[i] * c.beta2 + c.one_minus_beta2 * g * g;
  p[i] = p[i] * c.decay - c.rate * m[i] / (sqrt(v[i]) / c.root + c.eps);
}

template <class T>
void run(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const AdamWStep& step) {
  launch(blocks(p.numel(), 256), 256, 0, adamw_kernel<T>, at<T>(p), at<T>(g), at<T>(m), at<T>(v),
         Constants<T>(step), p.numel());
}

}  // namespace

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, AdamWStep step) {
  p.dtype() == DType::f64 ? run<double>(p, g, m, v, step) : run<float>(p, g, m, v, step);
}

}  // namespace vlm2vec::BACKEND
