// Matrix products at the shapes of training, one thread: GFLOP/s and the share of what fused multiply-adds on registers
// alone reach in the same seconds. VLM2VEC_ISA picks the instruction set.
//   gemm_bench [rounds]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "tensor/cpu/simd/simd.h"
#include "tensor/cpu/speed.h"
#include "tensor/random.h"

using namespace vlm2vec;

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  struct Product {
    int64_t m, n, k;
    bool ta, tb, bf16;
  };
  std::vector<Product> products;
  for (int64_t m : {700, 3600})
    for (auto [n, k] : {std::pair<int64_t, int64_t>{96, 96},
                        {128, 128},
                        {64, 128},
                        {256, 256},
                        {288, 96},
                        {384, 384},
                        {1536, 384},
                        {384, 1536}}) {
      products.push_back({m, n, k, false, true, false});   // forward, y = x·Wᵀ
      products.push_back({m, k, n, false, false, false});  // dx = dy·W
      products.push_back({n, k, m, true, false, false});   // dW = dyᵀ·x
      products.push_back({m, n, k, false, true, true});    // forward, bf16 weight
    }
  std::vector<float> a(3600 * 1536), b(a.size()), c(a.size());
  Random random(1);
  for (size_t i = 0; i < a.size(); ++i) a[i] = uniform(random.word()) - 0.5f, b[i] = uniform(random.word()) - 0.5f;
  std::vector<uint16_t> b_bf16;
  for (float x : b) b_bf16.push_back(bf16(x).bits);
  std::printf("%s, one thread: median of %d rounds\n", isa_name(), rounds);
  for (const Product& p : products) {
    GemmTask task{.m = p.m,
                  .n = p.n,
                  .k = p.k,
                  .a = a.data(),
                  .a_stride = p.ta ? p.m : p.k,
                  .b = b.data(),
                  .b_stride = p.tb ? p.k : p.n,
                  .c = c.data(),
                  .c_stride = p.n,
                  .transpose_a = p.ta,
                  .transpose_b = p.tb,
                  .b_type = p.bf16 ? Stored::bf16 : Stored::f32,
                  .accumulate = p.ta};
    if (p.bf16) task.b = b_bf16.data();
    const double flops = 2.0 * double(p.m * p.n * p.k);
    const int repeat = std::max(1, int(6e8 / flops));
    std::vector<double> rates, peaks;
    for (int i = 0; i < rounds; ++i) {
      peaks.push_back(fma_peak());
      const double begin = cpu_seconds();
      for (int j = 0; j < repeat; ++j) simd().gemm(task, 0, p.m, 0, p.n);
      rates.push_back(flops * repeat / (cpu_seconds() - begin) * 1e-9);
    }
    std::sort(rates.begin(), rates.end()), std::sort(peaks.begin(), peaks.end());
    const double rate = rates[size_t(rounds) / 2], top = peaks[size_t(rounds) / 2];
    std::printf("%c%c%s %5ld x %5ld x %5ld  %6.1f GF/s  %3.0f %% of %.0f\n", p.ta ? 'T' : 'N', p.tb ? 'T' : 'N',
                p.bf16 ? " bf16" : "     ", long(p.m), long(p.n), long(p.k), rate, top > 0 ? 100 * rate / top : 0.0,
                top);
  }
}
