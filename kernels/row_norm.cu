// RMSNorm and LayerNorm of rows that stay on the chip; norm.cu defines them. A warp has a short row, a block of eight
// warps a long one. Which, and so the order of the sums, follows from the columns alone.
#include "kernels/row_norm.h"

#include "kernels/block.h"

namespace vlm2vec::BACKEND {
namespace {

// How the vectors of 16 bytes of a row lie: vector i of thread t is number i · THREADS + t. VECTORS = 0: in shared
// memory, as many as there are.
template <int WARPS, int VECTORS>
struct Layout {
  static constexpr int vectors = VECTORS, threads = 32 * WARPS, rows = WARPS == 1 ? 4 : 1, block = threads * rows,
                       blocks = VECTORS == 0 ? 4 : 1;  // of a multiprocessor, at least
  __device__ static int thread() { return threadIdx.x % threads; }
  __device__ static int64_t row() { return int64_t(blockIdx.x) * rows + threadIdx.x / threads; }
  template <class T>
  __device__ static T sum(T x) {
    if constexpr (WARPS == 1) return warp_sum(x);
    else return block_sum(x);
  }
};

// A row of T as one thread sees it. Nobody else reads what it keeps: no barrier is needed.
template <class T, class L>
struct Row {
  static constexpr int N = wide<T>;
  Words kept[L::vectors > 0 ? L::vectors : 1];
  Words* shared;
  int columns;

  // `place` is the row's number among those that the block keeps.
  __device__ explicit Row(int columns, int place = 0) : columns(columns) {
    if constexpr (L::vectors == 0) shared = dynamic_shared<Words>() + place * (columns / N);
  }
  __device__ Words& operator[](int i) {
    if constexpr (L::vectors == 0) return shared[i * L::threads + L::thread()];
    else return kept[i];
  }
  __device__ Numbers<float, N> numbers(int i) {
    if constexpr (L::vectors == 0) return unpack<T>(load_16((*this)[i].x));
    else return unpack<T>(kept[i]);
  }
  // Returns the numbers of a vector of f32 beside those from column c on. Both lanes of a pair have some of 16 columns.
  __device__ Numbers<float, N> beside(const float* vector, int c) const {
    if constexpr (N == 8)
      if (columns % 16 == 0) return load_by_pairs(vector + c);
    return BACKEND::load<N>(vector + c);
  }
  // f(i, column) for every vector of this thread.
  template <class F>
  __device__ void each_vector(F f) const {
    if constexpr (L::vectors == 0) {
      for (int i = 0, c = L::thread() * N; c < columns; ++i, c += L::threads * N) f(i, c);
    } else {
      UNROLL for (int i = 0; i < L::vectors; ++i) if (const int c = (i * L::threads + L::thread()) * N; c < columns)
          f(i, c);
    }
  }
  __device__ void load(const T* from) {
    each_vector([&](int i, int c) { (*this)[i] = load_16(from + c); });
  }
  // Loads the row of x from `first` on. If there is another to add, the sum is rounded as it is stored, and stored.
  __device__ void load_sum(const T* x, const T* added, T* sum, int64_t first) {
    load(x + first);
    if (!added) return;
    Row other(columns, 1);
    other.load(added + first);
    each_vector([&](int i, int c) {
      (*this)[i] = pack<T>(each<float>([](float a, float b) { return a + b; }, numbers(i), other.numbers(i)));
      store_16(sum + first + c, (*this)[i]);
    });
  }
  // Σ term(vector, column of its first number) over the row
  template <class Term>
  __device__ float sum(Term term) {
    float sum = 0;
    each_vector([&](int i, int c) {
      const auto terms = term(i, c);
      UNROLL for (int j = 0; j < N; ++j) sum += terms[j];
    });
    return L::sum(sum);
  }
};

// y = s · rstd · w,   s = x + added,   rstd = 1 / √(mean(s²) + eps)
template <class T, class L>
__global__ void __launch_bounds__(L::block, L::blocks)
    row_rms_norm_kernel(const T* __restrict__ x, const T* __restrict__ added, const float* __restrict__ w, float eps,
                        T* __restrict__ sum, T* __restrict__ y, float* __restrict__ rstd, int64_t rows, int columns) {
  const int64_t row = L::row(), first = row * columns;
  if (row >= rows) return;
  Row<T, L> s(columns);
  s.load_sum(x, added, sum, first);
  const float squares = s.sum([&](int i, int) { return each<float>([](float v) { return v * v; }, s.numbers(i)); });
  const float r = 1 / sqrt(squares / columns + eps);
  if (L::thread() == 0) rstd[row] = r;
  s.each_vector([&](int i, int c) {
    store(y + first + c, each<float>([r](float v, float w) { return v * r * w; }, s.numbers(i), s.beside(w, c)));
  });
}

// dx = rstd · (g − x̂ · mean(g · x̂)) + before,   g = dy · w,   x̂ = x · rstd
template <class T, class L>
__global__ void __launch_bounds__(L::block, L::blocks)
    row_rms_norm_dx_kernel(const T* __restrict__ dy, const T* __restrict__ x, const float* __restrict__ w,
                           const float* __restrict__ rstd, const T* __restrict__ before, T* __restrict__ dx,
                           int64_t rows, int columns) {
  const int64_t row = L::row(), first = row * columns;
  if (row >= rows) return;
  Row<T, L> in(columns), up(columns, 1);
  in.load(x + first), up.load(dy + first);
  const float r = rstd[row];
  const float mean = in.sum([&](int i, int c) {
    return each<float>([r](float d, float w, float v) { return d * w * v * r; }, up.numbers(i), in.beside(w, c),
                       in.numbers(i));
  }) / columns;
  in.each_vector([&](int i, int c) {
    auto y = each<float>([=](float d, float w, float v) { return r * (d * w - v * r * mean); }, up.numbers(i),
                         in.beside(w, c), in.numbers(i));
    if (before) y = each<float>([](float a, float b) { return a + b; }, y, load<in.N>(before + first + c));
    store(dx + first + c, y);
  });
}

// y = (s − mean) · rstd · w + b,   s = x + added,   rstd = 1 / √(mean((s − mean)²) + eps)
template <class T, class L>
__global__ void __launch_bounds__(L::block, L::blocks)
    row_layer_norm_kernel(const T* __restrict__ x, const T* __restrict__ added, const float* __restrict__ w,
                          const float* __restrict__ b, float eps, T* __restrict__ sum, T* __restrict__ y,
                          float* __restrict__ mean, float* __restrict__ rstd, int64_t rows, int columns) {
  const int64_t row = L::row(), first = row * columns;
  if (row >= rows) return;
  Row<T, L> s(columns);
  s.load_sum(x, added, sum, first);
  const float m = s.sum([&](int i, int) { return s.numbers(i); }) / columns;
  const float squares =
      s.sum([&](int i, int) { return each<float>([m](float v) { return (v - m) * (v - m); }, s.numbers(i)); });
  const float r = 1 / sqrt(squares / columns + eps);
  if (L::thread() == 0) mean[row] = m, rstd[row] = r;
  s.each_vector([&](int i, int c) {
    store(y + first + c, each<float>([=](float v, float w, float b) { return (v - m) * r * w + b; }, s.numbers(i),
                                     s.beside(w, c), s.beside(b, c)));
  });
}

// dx = rstd · (g − mean(g) − x̂ · mean(g · x̂)) + before,   g = dy · w,   x̂ = (x − mean) · rstd
template <class T, class L>
__global__ void __launch_bounds__(L::block, L::blocks)
    row_layer_norm_dx_kernel(const T* __restrict__ dy, const T* __restrict__ x, const float* __restrict__ w,
                             const float* __restrict__ mean, const float* __restrict__ rstd,
                             const T* __restrict__ before, T* __restrict__ dx, int64_t rows, int columns) {
  const int64_t row = L::row(), first = row * columns;
  if (row >= rows) return;
  Row<T, L> in(columns), up(columns, 1);
  in.load(x + first), up.load(dy + first);
  const float m = mean[row], r = rstd[row];
  const auto g = [&](int i, int c) {
    return each<float>([](float d, float w) { return d * w; }, up.numbers(i), in.beside(w, c));
  };
  const float mean_g = in.sum(g) / columns;
  const float mean_gx = in.sum([&](int i, int c) {
    return each<float>([=](float g, float v) { return g * (v - m) * r; }, g(i, c), in.numbers(i));
  }) / columns;
  in.each_vector([&](int i, int c) {
    auto y =
        each<float>([=](float g, float v) { return r * (g - mean_g - (v - m) * r * mean_gx); }, g(i, c), in.numbers(i));
    if (before) y = each<float>([](float a, float b) { return a + b; }, y, load<in.N>(before + first + c));
    store(dx + first + c, y);
  });
}

// Runs f with T and the layout for rows of x. Registers hold 32 bytes of a short row, and up to 128 of a long one.
template <class F>
void dispatch_rows(const Tensor& x, F f) {
  const auto with = [&]<class T>(T) {
    const int columns = x.columns();
    constexpr int a_warp = 32 * wide<T>, a_block = 8 * a_warp;
    if (columns <= 256) f.template operator()<T, Layout<1, 256 / a_warp>>();
    else if (columns <= 1024) f.template operator()<T, Layout<1, 1024 / a_warp>>();
    else if (columns <= 2048) f.template operator()<T, Layout<8, 2048 / a_block>>();
    else if (columns <= most_in_registers) f.template operator()<T, Layout<8, most_in_registers / a_block>>();
    else f.template operator()<T, Layout<8, 0>>();
  };
  x.dtype() == DType::bf16 ? with(bf16()) : with(0.f);
}

// One row per warp or block, `kept` rows of x's shape on the chip.
template <class L, class... P, class... Arguments>
void launch_rows(const Tensor& x, int kept, void (*kernel)(P...), const Arguments&... arguments) {
  const size_t shared = L::vectors == 0 ? size_t(kept) * size_t(x.columns() * size_of(x.dtype())) : 0;
  launch(blocks(x.rows(), L::rows), L::block, shared, kernel, arguments..., x.rows(), x.columns());
}

}  // namespace

void row_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps, const Tensor& sum, const Tensor& y,
                  const Tensor& rstd) {
  dispatch_rows(x, [&]<class T, class L>() {
    launch_rows<L>(x, added ? 2 : 1, row_rms_norm_kernel<T, L>, at<T>(x), at_or_null<T>(added), at<float>(w), eps,
                   at_or_null<T>(sum), at<T>(y), at<float>(rstd));
  });
}
void row_rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before,
                     const Tensor& dx) {
  dispatch_rows(x, [&]<class T, class L>() {
    launch_rows<L>(x, 2, row_rms_norm_dx_kernel<T, L>, at<T>(dy), at<T>(x), at<float>(w), at<float>(rstd),
                   at_or_null<T>(before), at<T>(dx));
  });
}
void row_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  dispatch_rows(x, [&]<class T, class L>() {
    launch_rows<L>(x, added ? 2 : 1, row_layer_norm_kernel<T, L>, at<T>(x), at_or_null<T>(added), at<float>(w),
                   at<float>(b), eps, at_or_null<T>(sum), at<T>(y), at<float>(mean), at<float>(rstd));
  });
}
void row_layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                       const Tensor& before, const Tensor& dx) {
  dispatch_rows(x, [&]<class T, class L>() {
    launch_rows<L>(x, 2, row_layer_norm_dx_kernel<T, L>, at<T>(dy), at<T>(x), at<float>(w), at<float>(mean),
                   at<float>(rstd), at_or_null<T>(before), at<T>(dx));
  });
}

}  // namespace vlm2vec::BACKEND
