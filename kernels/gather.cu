// Gathers and replaces rows by number (i32), for embedding lookup and row selection, with the gradients.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int threads = 256;

// y[i] = table[ids[i]].  One block per row.
template <class From, class To>
__global__ void gather_rows_kernel(const From* table, const int32_t* ids, To* y, int columns) {
  const int64_t row = blockIdx.x;
  for (int c = threadIdx.x; c < columns; c += threads)
    y[row * columns + c] = To(table[int64_t(ids[row]) * columns + c]);
}

// dtable[ids[i]] += dy[i].  One thread per column adds the rows in order: no atomics, and the same bits every time.
template <class T>
__device__ void add(T& sum, acc_t<T> x) {
  sum = T(acc_t<T>(sum) + x);
}
template <class T, class To>
__global__ void scatter_add_rows_kernel(const T* dy, const int32_t* ids, To* dtable, int64_t rows, int columns) {
  const int c = int(blockIdx.x * threads + threadIdx.x);
  if (c >= columns) return;
  for (int64_t row = 0; row < rows; ++row) add(dtable[int64_t(ids[row]) * columns + c], dy[row * columns + c]);
}

// y[rows[i]] = source[i], or 0 without a source.  One block per row; the rows are distinct.
template <class T>
__global__ void set_rows_kernel(const int32_t* rows, const T* source, T* y, int columns) {
  const int64_t row = blockIdx.x, target = rows[row];
  for (int c = threadIdx.x; c < columns; c += threads)
    y[target * columns + c] = source ? source[row * columns + c] : T(0.f);
}

}  // namespace

void gather_rows(const Tensor& table, const Tensor& ids, const Tensor& y) {
  dispatch_stored(table.dtype(), [&]<class From>() {
    dispatch_float(y.dtype(), [&]<class To>() {
      launch(unsigned(ids.numel()), threads, 0, gather_rows_kernel<From, To>, at<From>(table), at<int32_t>(ids),
             at<To>(y), y.columns());
    });
  });
}

void scatter_add_rows(const Tensor& dy, const Tensor& ids, const Tensor& dtable) {
  dispatch_float(dy.dtype(), [&]<class T>() {
    const auto into = [&]<class To>(To) {
      launch(blocks(dy.columns(), threads), threads, 0, scatter_add_rows_kernel<T, To>, at<T>(dy), at<int32_t>(ids),
             at<To>(dtable), ids.numel(), dy.columns());
    };
    dtable.dtype() == dy.dtype() ? into(T()) : into(acc_t<T>());
  });
}

void replace_rows(const Tensor& x, const Tensor& rows, const Tensor& source, const Tensor& y) {
  cast(x, y);
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(rows.numel()), threads, 0, set_rows_kernel<T>, at<int32_t>(rows),
           source.defined() ? at<T>(source) : nullptr, at<T>(y), x.columns());
  });
}
void clear_rows(const Tensor& x, const Tensor& rows, const Tensor& y) { replace_rows(x, rows, Tensor(), y); }

}  // namespace vlm2vec::BACKEND
