// Gathers and replaces rows by number (i32), for embedding lookup and row selection, with the gradients.
#include <bit>

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

// y[i] = Σ_j shares[i, j]·table[ids[i, j]], j below `each`.  One block per row.
template <class From, class To, class A = acc_t<To>>
__global__ void blend_rows_kernel(const From* table, const int32_t* ids, const A* shares, int each, To* y,
                                  int columns) {
  const int64_t row = blockIdx.x;
  for (int c = threadIdx.x; c < columns; c += threads) {
    A sum = 0;
    for (int64_t i = row * each; i < (row + 1) * each; ++i) sum += shares[i] * A(table[int64_t(ids[i]) * columns + c]);
    y[row * columns + c] = To(sum);
  }
}

// dtable[ids[i]] += dy[i / each], times shares[i] if there are any.  One block per id and blockDim.x columns: it adds
// all rows that have this id, in order; the block of a later one of them adds nothing. No atomics, and the same bits
// every time.
template <class T, class To, class A = acc_t<T>>
__global__ void scatter_add_rows_kernel(const T* dy, const int32_t* ids, const A* shares, int each, To* dtable,
                                        int64_t rows, int columns) {
  SHARED(uint32_t, same, [threads / 32]);  // bit b of word w: row begin + 32w + b has the id
  const int64_t first = blockIdx.x, id = ids[first];
  const int c = int(blockIdx.y * blockDim.x + threadIdx.x), column = min(c, columns - 1);
  A sum = 0;
  for (int64_t begin = 0; begin < rows; begin += blockDim.x) {
    const int64_t row = begin + threadIdx.x;
    const uint32_t votes = __ballot_sync(~0u, row < rows && ids[row] == id);
    __syncthreads();  // all threads are done with the last words
    if (threadIdx.x % 32 == 0) same[threadIdx.x / 32] = votes;
    __syncthreads();
    for (unsigned word = 0; word < blockDim.x / 32; ++word)
      for (uint32_t bits = same[word]; bits; bits &= bits - 1) {
        const int64_t i = begin + 32 * word + std::countr_zero(bits);
        if (i < first) return;
        const A share = shares ? shares[i] : A(1);
        sum = (i == first ? A(dtable[id * columns + column]) : sum) + share * A(dy[i / each * columns + column]);
      }
  }
  if (c < columns) dtable[id * columns + column] = To(sum);
}

// y[rows[i]] = source[i], or 0 without a source.  One block per row; the rows are distinct.
template <class T>
__global__ void set_rows_kernel(const int32_t* rows, const T* source, T* y, int columns) {
  const int64_t row = blockIdx.x, target = rows[row];
  for (int c = threadIdx.x; c < columns; c += threads)
    y[target * columns + c] = source ? source[row * columns + c] : T(0.f);
}

}  // namespace

void gather_rows(const Tensor& table, const Tensor& ids, const Tensor& shares, const Tensor& y) {
  dispatch_stored(table.dtype(), [&]<class From>() {
    dispatch_float(y.dtype(), [&]<class To>() {
      if (shares.defined())
        launch(unsigned(y.rows()), threads, 0, blend_rows_kernel<From, To>, at<From>(table), at<int32_t>(ids),
               at<acc_t<To>>(shares), shares.columns(), at<To>(y), y.columns());
      else
        launch(unsigned(y.rows()), threads, 0, gather_rows_kernel<From, To>, at<From>(table), at<int32_t>(ids),
               at<To>(y), y.columns());
    });
  });
}

void scatter_add_rows(const Tensor& dy, const Tensor& ids, const Tensor& shares, const Tensor& dtable) {
  dispatch_float(dy.dtype(), [&]<class T>() {
    const auto into = [&]<class To>(To) {
      const int size = dy.columns() <= 32 ? 32 : threads;
      launch(dim3(unsigned(ids.numel()), blocks(dy.columns(), size)), unsigned(size), 0, scatter_add_rows_kernel<T, To>,
             at<T>(dy), at<int32_t>(ids), shares.defined() ? at<acc_t<T>>(shares) : nullptr,
             shares.defined() ? shares.columns() : 1, at<To>(dtable), ids.numel(), dy.columns());
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
