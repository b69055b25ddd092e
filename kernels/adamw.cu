// One AdamW step over the chunks of a flat buffer of parameters, in place (Loshchilov and Hutter 2019, algorithm 2).
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "kernels/vectors.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int threads = 256;

// p ← (1 − lr·wd)·p,   m ← m + (1 − β₁)(g − m),   v ← β₂ v + (1 − β₂) g²,
// p ← p − (lr / (1 − β₁ᵗ)) · m / (√v / √(1 − β₂ᵗ) + eps)
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

// Changes the N numbers from i on. A copy of N > 1 numbers in bf16 takes whole groups of 16 bytes.
template <int N, class T>
__device__ void step_at(T* p, const T* gradient, T* m, T* v, const Constants<T>& c, T decay, bf16* narrow,
                        float* rounded) {
  auto pn = load<N>(p), mn = load<N>(m), vn = load<N>(v);
  const auto raw = load<N>(gradient);
  UNROLL for (int j = 0; j < N; ++j) {
    const T g = raw[j] * c.gradient_scale;
    mn[j] = mn[j] + c.one_minus_beta1 * (g - mn[j]);
    vn[j] = vn[j] * c.beta2 + c.one_minus_beta2 * g * g;
    pn[j] = pn[j] * decay - c.rate * mn[j] / (sqrt(vn[j]) / c.root + c.eps);
  }
  store(m, mn), store(v, vn), store(p, pn);
  if (narrow) store(narrow, pn);
  if (rounded) store(rounded, each<float>([](T x) { return float(bf16(x)); }, pn));
}

// One block per chunk, N numbers at a time; what is left of a chunk one by one.
template <class T, int N>
__global__ void __launch_bounds__(threads)
    adamw_kernel(T* __restrict__ p, const T* __restrict__ gradient, T* __restrict__ m, T* __restrict__ v,
                 const int64_t* __restrict__ chunks, Constants<T> c) {
  const int64_t* const chunk = chunks + 4 * int64_t(blockIdx.x);
  const int64_t begin = chunk[0], count = chunk[1], flags = chunk[3];
  p += begin, gradient += begin, m += begin, v += begin;
  bf16* const narrow = flags & chunk_copy_is_bf16 ? from_table<bf16>(chunk[2]) : nullptr;
  float* const rounded = flags & chunk_copy_is_bf16 ? nullptr : from_table<float>(chunk[2]);
  const T decay = flags & chunk_decays ? c.decay : T(1);
  const auto step = [&]<int M>(int64_t i) {
    step_at<M>(p + i, gradient + i, m + i, v + i, c, decay, narrow ? narrow + i : nullptr,
               rounded ? rounded + i : nullptr);
  };
  const int64_t whole = count / N * N;
  for (int64_t i = int64_t(threadIdx.x) * N; i < whole; i += threads * N) step.template operator()<N>(i);
  for (int64_t i = whole + threadIdx.x; i < count; i += threads) step.template operator()<1>(i);
}

template <class T>
void run(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& chunks,
         const AdamWStep& step) {
  with_width<narrower_t<T, bf16>>(aligned_16({&p, &g, &m, &v}), [&]<int N>() {
    launch(unsigned(chunks.rows()), threads, 0, adamw_kernel<T, N>, at<T>(p), at<T>(g), at<T>(m), at<T>(v),
           at<int64_t>(chunks), Constants<T>(step));
  });
}

}  // namespace

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& chunks, AdamWStep step) {
  p.dtype() == DType::f64 ? run<double>(p, g, m, v, chunks, step) : run<float>(p, g, m, v, chunks, step);
}

}  // namespace vlm2vec::BACKEND
