#include "tensor/cpu/speed.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <numeric>
#include <vector>

#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace vlm2vec {
namespace {

// 12 or 24 independent chains hide the latency of two pipes.
__attribute__((target("avx512f"))) float chains_avx512(long n, const float* numbers) {
  __m512 s[24], a = _mm512_loadu_ps(numbers), b = _mm512_loadu_ps(numbers + 16);
#pragma GCC unroll 24
  for (int j = 0; j < 24; ++j) s[j] = _mm512_set1_ps(numbers[j]);
  for (long i = 0; i < n; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < 24; ++j) s[j] = _mm512_fmadd_ps(a, b, s[j]);
  }
#pragma GCC unroll 24
  for (int j = 1; j < 24; ++j) s[0] = _mm512_add_ps(s[0], s[j]);
  return s[0][0];
}
__attribute__((target("avx2,fma"))) float chains_avx2(long n, const float* numbers) {
  __m256 s[12], a = _mm256_loadu_ps(numbers), b = _mm256_loadu_ps(numbers + 8);
#pragma GCC unroll 12
  for (int j = 0; j < 12; ++j) s[j] = _mm256_set1_ps(numbers[j]);
  for (long i = 0; i < n; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) s[j] = _mm256_fmadd_ps(a, b, s[j]);
  }
#pragma GCC unroll 12
  for (int j = 1; j < 12; ++j) s[0] = _mm256_add_ps(s[0], s[j]);
  return s[0][0];
}

}  // namespace

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "an unknown processor";
}

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Computes on numbers with many digits: zeros or a constant take less power, and raise the clock above that of real
// products.
double fma_peak() {
  const int lanes = simd().lanes;
  if (lanes < 8) return 0;
  float numbers[48];
  Random random(1);
  for (float& x : numbers) x = float(random.normal());
  const long n = lanes == 16 ? 500000 : 1000000;
  volatile float sink;
  const double begin = cpu_seconds();
  sink = lanes == 16 ? chains_avx512(n, numbers) : chains_avx2(n, numbers);
  (void)sink;
  return 2.0 * double(n) * (lanes == 16 ? 24 * 16 : 12 * 8) / (cpu_seconds() - begin) * 1e-9;
}

double bf16_peak() {
  if (!simd().spin_bf16) return 0;
  uint16_t numbers[2048];
  Random random(1);
  for (uint16_t& x : numbers) x = bf16(float(random.normal())).bits;
  const double begin = cpu_seconds();
  const int64_t operations = simd().spin_bf16(100000, numbers);
  return double(operations) / (cpu_seconds() - begin) * 1e-9;
}

double of_all_threads(double (*peak)()) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<double> billions(static_cast<size_t>(threads()));
  parallel_each(billions.size(), [&](size_t i) {
    const double start = cpu_seconds(), rate = peak();
    billions[i] = rate * (cpu_seconds() - start);
  });
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  return std::accumulate(billions.begin(), billions.end(), 0.0) / wall.count();
}

double read_bandwidth(int64_t bytes) {
  const Tensor x = full({bytes / int64_t(sizeof(float))}, 1, DType::f32, Device::cpu);
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(x.numel(), 1 << 18, [&](int64_t first, int64_t last) {
      volatile float sink = simd().max(last - first, x.data<float>() + first);
      (void)sink;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, double(x.bytes()) / seconds.count() * 1e-9);
  }
  return best;
}

}  // namespace vlm2vec
