// Every kernel, declared once. KERNEL(name, arguments) declares cpu::name (the fast path, src/tensor/cpu), emu::name
// and gpu::name (kernels/*.cu, compiled by g++ for the emulator and by nvcc for GPUs; no_cuda.cpp without CUDA) and
// kernel::name, which picks one by the device of the first tensor. Inputs come first, results last. The caller
// allocates results and checks shapes (src/tensor/ops.cpp). "x += …" marks kernels that accumulate. An undefined tensor
// stands for "none".
//
// Activations are f32, bf16 or f64; statistics, sums and parameters that are vectors have acc type (f32, or f64).
// The fast CPU paths know f32 (and bf16 matrices); f64 on the CPU runs the scalar kernel, which is the definition.
#pragma once
#include <atomic>
#include <cstdint>

namespace vlm2vec {

class Tensor;

// x·σ(x), x·Φ(x), x·σ(1.702x), x·σ(1.5957691(x + 0.044715x³))
enum class Activation { silu, gelu, quick_gelu, gelu_tanh };

struct MatmulOptions {
  bool transpose_a = false, transpose_b = false, accumulate = false;
};

// Heads of head_dim columns each, lying side by side from `*_column` on in the rows of q, k and v.
struct AttentionShape {
  int heads, kv_heads, head_dim;
  bool causal;   // query i of nq sees the keys 0 … i + nk − nq
  double scale;  // scores are scale · q·k
  int q_column = 0, k_column = 0, v_column = 0;
  int window = 0;  // if causal: of those it sees the last `window` only; 0: all
  bool bf16_products = false;  // the CPU may round the factors of its products to bf16
};

struct AdamWStep {
  double learning_rate, beta1, beta2, eps, weight_decay;  // the last one for chunks that decay
  double bias_correction1, bias_correction2;  // 1 − βᵗ
  double gradient_scale;                      // gradients are multiplied by it first (clipping)
};

enum class Backend { cpu, emu, gpu };
Backend backend_of(const Tensor& first);  // by its device; cpu has no f64, for which the emulator's kernels run
bool is_dry_run();                        // kernels do nothing: src/tensor/storage.h

inline thread_local const char* running_kernel = "";  // of this thread, the last one: errors of a device name it

// Whether every sum has a fixed order, and so the same bits in every run. Without it, attention_backward adds dq by
// atomics where it has tensor cores.
inline std::atomic<bool> deterministic = true;

// Throws unless the tensor lies where the first one does.
void check_device(const Tensor& first, const Tensor& other);
template <class T>
void check_device(const Tensor&, const T&) {}  // a number or an option

template <class... Rest>
struct Kernel {
  using Function = void (*)(const Tensor&, Rest...);
  const char* name;
  Function functions[3];  // by Backend
  void operator()(const Tensor& first, Rest... rest) const {
    running_kernel = name;
    (check_device(first, rest), ...);
    if (!is_dry_run()) functions[int(backend_of(first))](first, rest...);
  }
};
template <class... Rest>
constexpr Kernel<Rest...> kernel_of(const char* name, void (*cpu)(const Tensor&, Rest...),
                                    void (*emu)(const Tensor&, Rest...), void (*gpu)(const Tensor&, Rest...)) {
  return {name, {cpu, emu, gpu}};
}

#ifndef KERNEL
#define KERNEL(name, ...)                                                                               \
  namespace cpu { void name(__VA_ARGS__); }                                                             \
  namespace emu { void name(__VA_ARGS__); }                                                             \
  namespace gpu { void name(__VA_ARGS__); }                                                             \
  namespace kernel { inline constexpr auto name = kernel_of(#name, &cpu::name, &emu::name, &gpu::name); }
#endif

// ---- elementwise.cu -------------------------------------------------------------------------------------------------
KERNEL(fill, const Tensor& y, double value)
KERNEL(cast, const Tensor& x, const Tensor& y)                                  // y = x in y's type
KERNEL(add, const Tensor& a, const Tensor& b, const Tensor& y)
KERNEL(add_to, const Tensor& x, const Tensor& y)                                // y += x
KERNEL(multiply, const Tensor& a, const Tensor& b, const Tensor& y)
KERNEL(scale, const Tensor& x, double factor, const Tensor& y)
// y[r, c] = x[r, c]·factors[c] + bias[c]
KERNEL(scale_columns, const Tensor& x, const Tensor& factors, const Tensor& bias, const Tensor& y)
KERNEL(activate, const Tensor& x, Activation f, const Tensor& y)
KERNEL(activate_dx, const Tensor& dy, const Tensor& x, Activation f, const Tensor& dx)
KERNEL(swiglu, const Tensor& gate, const Tensor& up, const Tensor& y)           // y = silu(gate)·up
KERNEL(swiglu_backward, const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate, const Tensor& dup)
KERNEL(packed_swiglu, const Tensor& gate_up, const Tensor& y)                    // gate_up [rows, 2 columns]
KERNEL(packed_swiglu_backward, const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up)
// y = x·m/(1−p), m = 0 with probability p, drawn by Philox(seed) at counter (dropout_ids[row], column / 4), word
// column % 4: the mask of a row follows from its key (i64 [rows]), whatever else is in the batch. Applied to dy it is
// its own backward.
KERNEL(dropout, const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed, const Tensor& y)

// ---- reduce.cu ------------------------------------------------------------------------------------------------------
KERNEL(column_sums, const Tensor& x, const Tensor& sums)                        // sums[c] += Σ_r x[r, c]
KERNEL(sum_of_squares, const Tensor& x, const Tensor& sum)                      // [1]
KERNEL(mean, const Tensor& x, const Tensor& y)                                  // [1]
KERNEL(row_squares, const Tensor& x, const Tensor& squares)                     // f64 [rows]: Σ_c x[r, c]²
// Norms of the rows of W + s·BA: squares (f64 [out]) = ‖w_o‖², aw [r, out] = A Wᵀ, baa [out, r] = B A Aᵀ; sums are f64.
KERNEL(dora_norms, const Tensor& b, const Tensor& squares, const Tensor& aw, const Tensor& baa, double scaling,
       const Tensor& norms, const Tensor& inverse_norms)

// ---- gather.cu: rows by number (i32) --------------------------------------------------------------------------------
// y[i] = table[ids[i]] in y's type; with shares, of the shape of ids [n, k]: y[i] = Σ_j shares[i, j]·table[ids[i, j]]
KERNEL(gather_rows, const Tensor& table, const Tensor& ids, const Tensor& shares, const Tensor& y)
// dtable[ids[i]] += dy[i], in order of i; with shares: dtable[ids[i, j]] += shares[i, j]·dy[i]
KERNEL(scatter_add_rows, const Tensor& dy, const Tensor& ids, const Tensor& shares, const Tensor& dtable)
// y = x but y[rows[i]] = source[i]
KERNEL(replace_rows, const Tensor& x, const Tensor& rows, const Tensor& source, const Tensor& y)
KERNEL(clear_rows, const Tensor& x, const Tensor& rows, const Tensor& y)        // y = x but y[rows[i]] = 0

// ---- matmul.cu, matmul_async.cu, matmul_tensor.cu: c = op(a)·op(b) + bias -------------------------------------------
// a and b of one type, or a f32 and b bf16 or f16; c f32 (f64 if a is), or bf16 beside two bf16 factors.
KERNEL(matmul, const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c)

// ---- norm.cu: rows of x; statistics (mean, rstd, norm) have acc type, one per row -----------------------------------
KERNEL(rms_norm, const Tensor& x, const Tensor& w, double eps, const Tensor& y, const Tensor& rstd)
// sum = x + added, y = norm of sum: the residual connection before a norm
KERNEL(add_rms_norm, const Tensor& x, const Tensor& added, const Tensor& w, double eps, const Tensor& sum,
       const Tensor& y, const Tensor& rstd)
// dx = … + before; without `before` it is 0
KERNEL(rms_norm_dx, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before,
       const Tensor& dx)
KERNEL(rms_norm_dw, const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& dw)  // dw += …
KERNEL(layer_norm, const Tensor& x, const Tensor& w, const Tensor& b, double eps, const Tensor& y, const Tensor& mean,
       const Tensor& rstd)
KERNEL(add_layer_norm, const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps,
       const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd)
KERNEL(layer_norm_dx, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
       const Tensor& before, const Tensor& dx)
// dw += …
KERNEL(layer_norm_dw, const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dw)
// y = x / max(‖x‖, eps), of acc type
KERNEL(l2_normalize, const Tensor& x, double eps, const Tensor& y, const Tensor& norm)
KERNEL(l2_normalize_dx, const Tensor& dy, const Tensor& y, const Tensor& norm, double eps, const Tensor& dx)

// ---- rope.cu: the first `heads` heads of each row turned by the row's angles, the other columns copied --------------
// cos, sin [rows, head_dim / 2]; pairs are (i, i + head_dim / 2). inverse turns back: the backward.
KERNEL(rope, const Tensor& x, const Tensor& cos, const Tensor& sin, int heads, int head_dim, bool inverse,
       const Tensor& y)

// ---- attention.cu, attention_backward.cu: packed rows; sequence s has the query rows cu_q[s] … cu_q[s+1] ------------
// lse [heads, query rows]: log Σ exp of each query's scores. The backward writes the q, k, v columns of dq, dk, dv.
KERNEL(attention, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
       AttentionShape shape, const Tensor& o, const Tensor& lse)
KERNEL(attention_backward, const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
       const Tensor& lse, const Tensor& cu_q, const Tensor& cu_k, AttentionShape shape, const Tensor& dq,
       const Tensor& dk, const Tensor& dv)

// ---- infonce.cu, infonce_tiles.cu: scores s = inverse_tau · q tᵀ; query i belongs to target labels[i] (i32) ---------
// groups: i32 for each target, or an empty tensor. A target of the label's group, other than it, does not count for
// query i.
// bf16_scores: scores are those of q and t rounded to bf16. Products with q and t, for dq and dt, are not rounded.
// loss[i] = lse_i − s_i,label(i); best[i] (i32): the first index among the targets of highest score that count.
KERNEL(infonce, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
       bool bf16_scores, const Tensor& loss, const Tensor& lse, const Tensor& best)
KERNEL(infonce_backward, const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels,
       const Tensor& groups, const Tensor& lse, double inverse_tau, bool bf16_scores, const Tensor& dq,
       const Tensor& dt)

// ---- adamw.cu: p, m, v updated in place (Loshchilov and Hutter 2019, in torch's order of operations) ----------------
// All tensors in one launch. A row of `chunks`, i64 [n, 4], is for some numbers of the flat p, g, m and v: the first, a
// multiple of 16; their count; the address of a copy of p that is rounded to bf16, or 0; and these bits.
inline constexpr int64_t chunk_decays = 1, chunk_copy_is_bf16 = 2;  // without the second, a copy is f32
KERNEL(adamw, const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& chunks, AdamWStep step)

}  // namespace vlm2vec
