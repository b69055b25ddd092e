// Attention of one sequence, forward and backward, one thread: microseconds and GFLOP/s (4 and 10 flops for each query,
// seen key and head column). VLM2VEC_ISA picks the instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "tensor/cpu/simd/simd.h"
#include "tensor/cpu/speed.h"
#include "tensor/random.h"

using namespace vlm2vec;

template <class F>
static double median_seconds(double flops, F f) {
  const int repeat = std::max(1, int(5e7 / flops));
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const double begin = cpu_seconds();
    for (int j = 0; j < repeat; ++j) f();
    seconds.push_back((cpu_seconds() - begin) / repeat);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[4];
}

int main() {
  std::printf("%s, one thread, medians of 9\n", isa_name());
  struct Shape {
    int64_t n;
    int group, head_dim;
    bool causal;
  };
  for (const Shape& s : {Shape{4, 2, 32, true},
                         {12, 2, 32, true},
                         {20, 2, 32, true},
                         {40, 2, 32, true},
                         {40, 4, 64, true},
                         {197, 1, 64, false},
                         {577, 1, 64, false},
                         {256, 1, 80, false},
                         {729, 1, 72, false},
                         {2310, 6, 128, true}}) {
    const int64_t width = s.group * s.head_dim;
    Random random(1);
    std::vector<float> x[9];
    for (auto& v : x) {
      v.resize(s.n * width);
      for (float& number : v) number = float(random.normal());
    }
    std::vector<float> lse(s.n * s.group);
    const AttentionTask task{.nq = s.n,
                             .nk = s.n,
                             .group = s.group,
                             .head_dim = s.head_dim,
                             .causal = s.causal,
                             .scale = 1 / std::sqrt(float(s.head_dim)),
                             .q = x[0].data(),
                             .k = x[1].data(),
                             .v = x[2].data(),
                             .q_stride = width,
                             .k_stride = s.head_dim,
                             .v_stride = s.head_dim,
                             .o = x[3].data(),
                             .lse = lse.data(),
                             .o_stride = width,
                             .lse_stride = s.n};
    const AttentionTaskGradient gradient{.d_o = x[4].data(),
                                         .dq = x[5].data(),
                                         .dk = x[6].data(),
                                         .dv = x[7].data(),
                                         .do_stride = width,
                                         .dq_stride = width,
                                         .dk_stride = s.head_dim,
                                         .dv_stride = s.head_dim,
                                         .k_begin = 0,
                                         .k_end = s.n};
    const double pairs = s.causal ? double(s.n) * double(s.n + 1) / 2 : double(s.n) * double(s.n),
                 unit = pairs * double(width);
    const double forward = median_seconds(4 * unit, [&] { simd().attention(task); });
    const double backward = median_seconds(10 * unit, [&] { simd().attention_backward(task, gradient); });
    std::printf("%5ld rows, %d heads of %3d, %s  forward %9.2f us %6.1f GF/s  backward %9.2f us %6.1f GF/s\n",
                long(s.n), s.group, s.head_dim, s.causal ? "causal" : "full  ", forward * 1e6, 4e-9 * unit / forward,
                backward * 1e6, 10e-9 * unit / backward);
  }
}
