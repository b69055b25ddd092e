// The table of the CPU's inner loops. A loop takes raw pointers and runs a range of rows or numbers on one thread;
// src/tensor/cpu spreads ranges over threads. Each instruction set fills one table (base.cpp, avx2.cpp, avx512.cpp),
// but avx512bf16.cpp and amx.cpp only what they do better than avx512.cpp. Matrices are row-major; *_stride counts
// floats from one row to the next; without one, rows lie back to back. Same bits: the order of the terms of a sum
// depends on its length and the instruction set only. A row's result is therefore the same alone or in a batch, and a
// number's result does not depend on its place in a range. No inline code and no std here: the files are compiled with
// instructions that older machines lack.
#pragma once
#include <stdint.h>

namespace vlm2vec {

// The stored type of a factor; products widen bf16 and f16 to f32.
enum class Stored : uint8_t { f32, bf16, f16 };

// C[m, n] = op(A)[m, k] · op(B)[k, n] + bias[n], or C += … if accumulate.
struct GemmTask {
  int64_t m, n, k;
  const void* a;  // [m, k], or [k, m] if transpose_a; type a_type
  int64_t a_stride;
  const void* b;  // [k, n], or [n, k] if transpose_b (a Linear's weight); type b_type
  int64_t b_stride;
  float* c;
  int64_t c_stride;
  bool transpose_a = false, transpose_b = false;
  Stored a_type = Stored::f32, b_type = Stored::f32;
  bool accumulate = false;
  const float* bias = nullptr;  // [n] or none
};

// One sequence, one key-value head and the `group` query heads that share it, head_dim columns each, side by side.
// Query i sees the keys 0 … i + nk − nq if causal, of these the last `window` if there is one; else all keys. Without
// keys, o = 0, lse = −inf, and no gradient.
struct AttentionTask {
  int64_t nq, nk;
  int group, head_dim;
  bool causal;
  float scale;             // scores are scale · q·k; above 0
  const float *q, *k, *v;  // [nq, group · head_dim], [nk, head_dim], [nk, head_dim]
  int64_t q_stride, k_stride, v_stride;
  float* o;    // [nq, group · head_dim]; the backward reads o and lse
  float* lse;  // log Σ exp of the scores of query i of head g at lse[g · lse_stride + i]
  int64_t o_stride, lse_stride;
  int64_t window = 0;
};
struct AttentionTaskGradient {  // written, not accumulated; dk and dv are sums over the group
  const float* d_o;
  float *dq, *dk, *dv;  // dq, or both dk and dv, may be null: not wanted
  int64_t do_stride, dq_stride, dk_stride, dv_stride;
  int64_t k_begin, k_end;  // the keys to look at; k_begin is a multiple of 128
};

// p ← p − p·lr·wd; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr/bc₁ · m / (√v/√bc₂ + eps), with g scaled first
struct AdamWRates {
  double learning_rate, beta1, beta2, eps, weight_decay, bias_correction1, bias_correction2, gradient_scale;
};

struct Simd {
  const char* name;  // "base", "avx2", "avx512", "avx512bf16", "amx"
  int lanes;         // floats in a vector

  // ---- gemm.inl.h: computes rows [m0, m1), columns [n0, n1) of C
  void (*gemm)(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1);
  // Two bf16 factors, multiplied as such (bf16.inl.h); null without instructions for it: `gemm` then widens them.
  void (*gemm_bf16)(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1);

  // ---- elementwise.inl.h: n numbers each; a result may overwrite an argument
  void (*add)(int64_t n, const float* x, const float* y, float* z);       // z = x + y
  void (*add_to)(int64_t n, const float* x, float* y);                    // y += x
  void (*multiply)(int64_t n, const float* x, const float* y, float* z);  // z = x·y
  void (*scale)(int64_t n, float factor, const float* x, float* y);       // y = factor·x
  void (*widen)(int64_t n, const uint16_t* x, float* y);                  // bf16 → f32
  void (*widen_f16)(int64_t n, const uint16_t* x, float* y);              // f16 → f32
  void (*narrow)(int64_t n, const float* x, uint16_t* y);                 // f32 → bf16, to nearest, ties to even
  // y = kept·x, or 0 where uniform(word c % 4 of Philox(key)(row, c / 4)) < p (tensor/random.h)
  void (*dropout)(int64_t n, const uint32_t* key, uint64_t row, const float* x, float p, float kept, float* y);
  void (*adamw)(int64_t n, float* p, const float* g, float* m, float* v, const AdamWRates& rates);

  // ---- activation.inl.h
  void (*exp)(int64_t n, const float* x, float shift, float* y);  // y = exp(x − shift)
  void (*silu)(int64_t n, const float* x, float* y);              // x·σ(x)
  void (*silu_dx)(int64_t n, const float* dy, const float* x, float* dx);
  void (*gelu)(int64_t n, const float* x, float* y);  // x·Φ(x), exact: through erf
  void (*gelu_dx)(int64_t n, const float* dy, const float* x, float* dx);
  void (*quick_gelu)(int64_t n, const float* x, float* y);  // x·σ(1.702x)
  void (*quick_gelu_dx)(int64_t n, const float* dy, const float* x, float* dx);
  void (*gelu_tanh)(int64_t n, const float* x, float* y);  // x·σ(1.5957691(x + 0.044715x³))
  void (*gelu_tanh_dx)(int64_t n, const float* dy, const float* x, float* dx);
  void (*swiglu)(int64_t n, const float* gate, const float* up, float* y);  // silu(gate)·up
  void (*swiglu_backward)(int64_t n, const float* dy, const float* gate, const float* up, float* dgate, float* dup);

  // ---- reduce.inl.h: f32 lanes, added in f64 every 1024 numbers. A caller that splits a sum over threads must cut at
  // places that do not depend on the number of threads
  double (*dot)(int64_t n, const float* x, const float* y);
  double (*sum_of_squares)(int64_t n, const float* x);
  double (*sum_exp)(int64_t n, const float* x, float shift);  // Σ exp(x − shift)
  float (*max)(int64_t n, const float* x);                    // −inf if n = 0
  // sums[c] += Σ_r x[r, c], rows in order; threads share the columns, here and in the *_dw
  void (*column_sums)(int64_t rows, int64_t columns, const float* x, int64_t stride, float* sums);

  // ---- norm.inl.h: contiguous rows, w and b [columns], statistics one per row; *_dw: dw += Σ_r …
  void (*rms_norm)(int64_t rows, int64_t columns, const float* x, const float* w, float eps, float* y, float* rstd);
  void (*rms_norm_dx)(int64_t rows, int64_t columns, const float* dy, const float* x, const float* w, const float* rstd,
                      float* dx);
  void (*rms_norm_dw)(int64_t rows, int64_t columns, const float* dy, const float* x, int64_t stride, const float* rstd,
                      float* dw);
  void (*layer_norm)(int64_t rows, int64_t columns, const float* x, const float* w, const float* b, float eps, float* y,
                     float* mean, float* rstd);
  void (*layer_norm_dx)(int64_t rows, int64_t columns, const float* dy, const float* x, const float* w,
                        const float* mean, const float* rstd, float* dx);
  void (*layer_norm_dw)(int64_t rows, int64_t columns, const float* dy, const float* x, int64_t stride,
                        const float* mean, const float* rstd, float* dw);  // db is column_sums of dy
  // y = x / max(‖x‖, eps)
  void (*l2_normalize)(int64_t rows, int64_t columns, const float* x, float eps, float* y, float* norm);
  void (*l2_normalize_dx)(int64_t rows, int64_t columns, const float* dy, const float* y, const float* norm, float eps,
                          float* dx);

  // ---- rope.inl.h: rotates the first `heads` heads of each row by the row's angles (cos, sin [rows, head_dim / 2];
  // pairs are (i, i + head_dim / 2)) and copies the other columns. sign = −1 rotates back (backward). y may be x.
  void (*rope)(int64_t rows, int64_t columns, const float* x, const float* cos, const float* sin, int heads,
               int head_dim, float sign, float* y);

  // ---- attention.inl.h
  void (*attention)(const AttentionTask& a);
  void (*attention_backward)(const AttentionTask& a, const AttentionTaskGradient& g);
  // The factors of products are rounded to bf16; null as for gemm_bf16.
  void (*attention_bf16)(const AttentionTask& a);
  void (*attention_bf16_backward)(const AttentionTask& a, const AttentionTaskGradient& g);
  // Multiplies 2,048 numbers with each other on registers, n times; returns the operations. For the measured peak.
  int64_t (*spin_bf16)(int64_t n, const uint16_t* numbers);
};

// What an instruction set with products of bf16 adds to `avx512`.
struct Bf16Products {
  void (*gemm)(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1);
  void (*attention)(const AttentionTask& a);
  void (*attention_backward)(const AttentionTask& a, const AttentionTaskGradient& g);
  int64_t (*spin)(int64_t n, const uint16_t* numbers);
};

// Size of a thread's work space: two huge pages, enough for the products of any model.
inline constexpr int64_t kSimdScratchBytes = 4 << 20;
// Returns this thread's work space of at least `floats` floats, 64-byte aligned. The next call may overwrite it.
float* simd_scratch(int64_t floats);

}  // namespace vlm2vec
