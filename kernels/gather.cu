// Gathers and replaces rows by number (i32), for embedding lookup and row selection, with the gradients.
#include <algorithm>
#include <bit>

#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "kernels/vectors.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int threads = 256;

// Enough for rows of vectors of N numbers.
unsigned threads_for(int columns, int N) { return unsigned(std::min(threads, (columns / N + 31) / 32 * 32)); }

// y[i] = table[ids[i]].  One block per row.
template <class From, class To, int N>
__global__ void __launch_bounds__(threads)
    gather_rows_kernel(const From* __restrict__ table, const int32_t* __restrict__ ids, To* __restrict__ y,
                       int columns) {
  const int64_t row = blockIdx.x;
  table += int64_t(ids[row]) * columns, y += row * columns;
  for (int c = int(threadIdx.x) * N; c < columns; c += int(blockDim.x) * N) store(y + c, load<N>(table + c));
}

// y[i] = Σ_j shares[i, j]·table[ids[i, j]], j below `each`.  One block per row.
template <class From, class To, int N, class A = acc_t<To>>
__global__ void __launch_bounds__(threads)
    blend_rows_kernel(const From* __restrict__ table, const int32_t* __restrict__ ids, const A* __restrict__ shares,
                      int each_row, To* __restrict__ y, int columns) {
  const int64_t row = blockIdx.x;
  for (int c = int(threadIdx.x) * N; c < columns; c += int(blockDim.x) * N) {
    Numbers<A, N> sum{};
    for (int64_t i = row * each_row; i < (row + 1) * each_row; ++i)
      sum = each<A>([share = shares[i]](A sum, A x) { return sum + share * x; }, sum,
                    load<N>(table + int64_t(ids[i]) * columns + c));
    store(y + row * columns + c, sum);
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

// What ids are sorted by: the id, then its number. Behind the last one stands `no_key`.
constexpr int chunk = 2 * threads;
constexpr int64_t no_key = INT64_MAX;

// Sorts each chunk of the keys of ids, by a bitonic network (Batcher 1968). One block per chunk.
__global__ void __launch_bounds__(threads)
    sort_chunks_kernel(const int32_t* __restrict__ ids, int64_t* __restrict__ sorted, int n) {
  SHARED(int64_t, keys, [chunk]);
  const int t = int(threadIdx.x), begin = int(blockIdx.x) * chunk;
  for (int i = t; i < chunk; i += threads)
    keys[i] = begin + i < n ? int64_t(ids[begin + i]) << 32 | (begin + i) : no_key;
  for (int run = 2; run <= chunk; run *= 2)
    for (int apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();  // the step before is done
      const int i = t / apart * 2 * apart + t % apart, j = i + apart;
      const int64_t one = keys[i], other = keys[j];
      if ((one > other) == ((i & run) == 0)) keys[i] = other, keys[j] = one;
    }
  __syncthreads();
  for (int i = t; i < chunk; i += threads) sorted[begin + i] = keys[i];
}

// Returns how many keys of all sorted chunks are below `bound`.
__device__ int count_below(const int64_t* sorted, int chunks, int64_t bound) {
  int count = 0;
  for (int c = 0; c < chunks; ++c, sorted += chunk) {
    int below = 0;
    for (int step = chunk / 2; step > 0; step /= 2)
      if (sorted[below + step - 1] < bound) below += step;
    count += below + (sorted[below] < bound);
  }
  return count;
}

// The numbers of ids in the order of their keys. runs[p]: how many have the id of the p-th, if it is the first of them;
// else 0. A key's place is the count of those below it.
__global__ void __launch_bounds__(threads)
    merge_chunks_kernel(const int64_t* __restrict__ sorted, int chunks, int32_t* __restrict__ order,
                        int32_t* __restrict__ runs) {
  const int64_t key = sorted[int64_t(blockIdx.x) * threads + threadIdx.x], id = key >> 32;
  if (key == no_key) return;
  const int place = count_below(sorted, chunks, key), first = count_below(sorted, chunks, id << 32);
  order[place] = int32_t(key);
  runs[place] = place == first ? count_below(sorted, chunks, (id + 1) << 32) - first : 0;
}

// As scatter_add_rows_kernel, and to the bit. One block per sorted id: the first of a run adds all rows of the run, the
// others nothing.
template <class T, class To, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(threads)
    add_runs_kernel(const T* __restrict__ dy, const int32_t* __restrict__ ids, const int32_t* __restrict__ order,
                    const int32_t* __restrict__ runs, const A* __restrict__ shares, int each_row,
                    To* __restrict__ dtable, int columns) {
  const int64_t first = blockIdx.x, end = first + runs[first];
  if (first == end) return;
  dtable += int64_t(ids[order[first]]) * columns;
  for (int c = int(threadIdx.x) * N; c < columns; c += int(blockDim.x) * N) {
    auto sum = load<N>(dtable + c);
    for (int64_t p = first; p < end; ++p) {
      const int64_t i = order[p];
      const A share = shares ? shares[i] : A(1);
      sum = each<A>([share](A sum, A x) { return sum + share * x; }, sum, load<N>(dy + i / each_row * columns + c));
    }
    store(dtable + c, sum);
  }
}

// y[rows[i]] = source[i], or 0 without a source.  One block per row; the rows are distinct.
template <class T, int N>
__global__ void __launch_bounds__(threads)
    set_rows_kernel(const int32_t* __restrict__ rows, const T* __restrict__ source, T* __restrict__ y, int columns) {
  const int64_t row = blockIdx.x;
  y += int64_t(rows[row]) * columns;
  for (int c = int(threadIdx.x) * N; c < columns; c += int(blockDim.x) * N)
    store(y + c, source ? load<N>(source + row * columns + c) : Numbers<acc_t<T>, N>{});
}

}  // namespace

void gather_rows(const Tensor& table, const Tensor& ids, const Tensor& shares, const Tensor& y) {
  dispatch_stored(table.dtype(), [&]<class From>() {
    dispatch_float(y.dtype(), [&]<class To>() {
      with_width<narrower_t<From, To>>(whole_rows({&table, &y}), [&]<int N>() {
        const unsigned size = threads_for(y.columns(), N);
        if (shares.defined())
          launch(unsigned(y.rows()), size, 0, blend_rows_kernel<From, To, N>, at<From>(table), at<int32_t>(ids),
                 at<acc_t<To>>(shares), shares.columns(), at<To>(y), y.columns());
        else
          launch(unsigned(y.rows()), size, 0, gather_rows_kernel<From, To, N>, at<From>(table), at<int32_t>(ids),
                 at<To>(y), y.columns());
      });
    });
  });
}

void scatter_add_rows(const Tensor& dy, const Tensor& ids, const Tensor& shares, const Tensor& dtable) {
  dispatch_float(dy.dtype(), [&]<class T>() {
    const auto into = [&]<class To>(To) {
      const acc_t<T>* const of_row = at_or_null<acc_t<T>>(shares);
      const int each_row = shares.defined() ? int(shares.columns()) : 1;
      with_width<T>(whole_rows({&dy, &dtable}), [&]<int N>() {
        if constexpr (N > 1) {
          const Tensor order = empty_like(ids), runs = empty_like(ids);
          const unsigned chunks = blocks(ids.numel(), chunk);
          const Tensor sorted({int64_t(chunks) * chunk}, DType::i64, ids.device());
          launch(chunks, threads, 0, sort_chunks_kernel, at<int32_t>(ids), at<int64_t>(sorted), ids.numel());
          launch(2 * chunks, threads, 0, merge_chunks_kernel, at<int64_t>(sorted), int(chunks), at<int32_t>(order),
                 at<int32_t>(runs));
          launch(unsigned(ids.numel()), threads_for(dy.columns(), N), 0, add_runs_kernel<T, To, N>, at<T>(dy),
                 at<int32_t>(ids), at<int32_t>(order), at<int32_t>(runs), of_row, each_row, at<To>(dtable),
                 dy.columns());
        } else {
          const int size = dy.columns() <= 32 ? 32 : threads;
          launch(dim3(unsigned(ids.numel()), blocks(dy.columns(), size)), unsigned(size), 0,
                 scatter_add_rows_kernel<T, To>, at<T>(dy), at<int32_t>(ids), of_row, each_row, at<To>(dtable),
                 ids.numel(), dy.columns());
        }
      });
    };
    dtable.dtype() == dy.dtype() ? into(T()) : into(acc_t<T>());
  });
}

void replace_rows(const Tensor& x, const Tensor& rows, const Tensor& source, const Tensor& y) {
  cast(x, y);
  dispatch_float(x.dtype(), [&]<class T>() {
    with_width<T>(whole_rows({&source, &y}), [&]<int N>() {
      launch(unsigned(rows.numel()), threads_for(x.columns(), N), 0, set_rows_kernel<T, N>, at<int32_t>(rows),
             at_or_null<T>(source), at<T>(y), x.columns());
    });
  });
}
void clear_rows(const Tensor& x, const Tensor& rows, const Tensor& y) { replace_rows(x, rows, Tensor(), y); }

}  // namespace vlm2vec::BACKEND
