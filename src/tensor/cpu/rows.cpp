// Functions of rows: sums, gathering and scattering by row number.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec::cpu {

void column_sums(const Tensor& x, const Tensor& sums) {
  const float* from = f32("column_sums", x);
  float* const to = f32("column_sums", sums);
  parallel_columns(x.rows(), x.columns(), [&](int64_t begin, int64_t end) {
    simd().column_sums(x.rows(), end - begin, from + begin, x.columns(), to + begin);
  });
}

// Sums blocks of fixed size and adds the block sums in order.
void sum_of_squares(const Tensor& x, const Tensor& sum) {
  constexpr int64_t block = 1 << 16;
  const float* from = f32("sum_of_squares", x);
  std::vector<double> parts(size_t((x.numel() + block - 1) / block));
  parallel_each(parts.size(), [&](size_t i) {
    const int64_t begin = int64_t(i) * block;
    parts[i] = simd().sum_of_squares(std::min(block, x.numel() - begin), from + begin);
  });
  double total = 0;
  for (double part : parts) total += part;
  *f32("sum_of_squares", sum) = float(total);
}

void mean(const Tensor& x, const Tensor& y) {
  const float* from = f32("mean", x);
  *f32("mean", y) = float(std::accumulate(from, from + x.numel(), 0.0) / double(x.numel()));
}

void row_squares(const Tensor& x, const Tensor& squares) {
  dispatch_stored(x.dtype(), [&]<class T>() {
    parallel_rows(x.rows(), x.columns(), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* const from = x.data<T>() + row * x.columns();
        double sum = 0;
        for (int64_t c = 0; c < x.columns(); ++c) sum += double(from[c]) * double(from[c]);
        squares.data<double>()[row] = sum;
      }
    });
  });
}

void dora_norms(const Tensor& b, const Tensor& squares, const Tensor& aw, const Tensor& baa, double scaling,
                const Tensor& norms, const Tensor& inverse_norms) {
  const float *factors = f32("dora_norms", b), *from_aw = f32("dora_norms", aw), *from_baa = f32("dora_norms", baa);
  const int64_t out = b.rows(), r = b.columns();
  for (int64_t o = 0; o < out; ++o) {
    double square = squares.data<double>()[o];
    for (int64_t k = 0; k < r; ++k)
      square += factors[o * r + k] * (2 * scaling * from_aw[k * out + o] + scaling * scaling * from_baa[o * r + k]);
    const double norm = std::sqrt(std::max(square, 0.0));
    norms.data<float>()[o] = float(norm), inverse_norms.data<float>()[o] = float(1 / norm);
  }
}

namespace {

// Returns the row numbers after checking that `of` has these rows.
const int32_t* row_numbers(const char* op, const Tensor& ids, const Tensor& of) {
  const int32_t* numbers = ids.data<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i)
    CHECK(numbers[i] >= 0 && numbers[i] < of.rows(), op, ": number ", i, " asks for row ", numbers[i], " of ", of);
  return numbers;
}

const float* each_share(const char* op, const Tensor& shares) { return shares.defined() ? f32(op, shares) : nullptr; }

void copy_rows(const Tensor& x, const Tensor& y) {
  const float* from = x.data<float>();
  float* const to = y.data<float>();
  parallel_for(x.numel(), grain, [&](int64_t begin, int64_t end) { std::copy(from + begin, from + end, to + begin); });
}

}  // namespace

void gather_rows(const Tensor& table, const Tensor& ids, const Tensor& shares, const Tensor& y) {
  const int32_t* numbers = row_numbers("gather_rows", ids, table);
  const int64_t d = table.columns(), each = shares.defined() ? shares.columns() : 1;
  const float* share = each_share("gather_rows", shares);
  float* const to = f32("gather_rows", y);
  const bool narrow = table.dtype() == DType::bf16 || table.dtype() == DType::f16;
  const auto widen = table.dtype() == DType::f16 ? simd().widen_f16 : simd().widen;
  const auto* half = static_cast<const uint16_t*>(table.raw());
  const float* from = narrow ? nullptr : f32("gather_rows", table);
  const auto row_to = [&](int64_t i, float* place) {
    if (narrow) widen(d, half + numbers[i] * d, place);
    else std::copy_n(from + numbers[i] * d, d, place);
  };
  parallel_rows(y.rows(), each * d, [&](int64_t begin, int64_t end) {
    std::vector<float> next(each > 1 ? size_t(d) : 0);
    for (int64_t i = begin * each; i < end * each; ++i) {
      float* const row = to + i / each * d;
      const bool first = i % each == 0;
      float* const place = first ? row : next.data();
      row_to(i, place);
      if (share) simd().scale(d, share[i], place, place);
      if (!first) simd().add_to(d, place, row);
    }
  });
}

void scatter_add_rows(const Tensor& dy, const Tensor& ids, const Tensor& shares, const Tensor& dtable) {
  const int32_t* numbers = row_numbers("scatter_add_rows", ids, dtable);
  const int64_t d = dy.columns(), each = shares.defined() ? shares.columns() : 1;
  const float* share = each_share("scatter_add_rows", shares);
  const float* from = f32("scatter_add_rows", dy);
  float* const to = f32("scatter_add_rows", dtable);
  parallel_columns(ids.numel(), d, [&](int64_t begin, int64_t end) {
    std::vector<float> part(share ? size_t(end - begin) : 0);
    for (int64_t i = 0; i < ids.numel(); ++i) {
      const float* row = from + i / each * d + begin;
      if (share) simd().scale(end - begin, share[i], row, part.data()), row = part.data();
      simd().add_to(end - begin, row, to + numbers[i] * d + begin);
    }
  });
}

void replace_rows(const Tensor& x, const Tensor& rows, const Tensor& source, const Tensor& y) {
  const int32_t* numbers = row_numbers("replace_rows", rows, y);
  const int64_t d = x.columns();
  f32("replace_rows", x), f32("replace_rows", y);
  const float* from = f32("replace_rows", source);
  copy_rows(x, y);
  parallel_rows(rows.numel(), d, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::copy_n(from + i * d, d, y.data<float>() + numbers[i] * d);
  });
}
void clear_rows(const Tensor& x, const Tensor& rows, const Tensor& y) {
  const int32_t* numbers = row_numbers("clear_rows", rows, y);
  const int64_t d = x.columns();
  f32("clear_rows", x), f32("clear_rows", y);
  copy_rows(x, y);
  parallel_rows(rows.numel(), d, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::fill_n(y.data<float>() + numbers[i] * d, d, 0.0f);
  });
}

}  // namespace vlm2vec::cpu
