// Every function of tensor/ops.h as a case of one table: random inputs in, results out, on any device, in f32 or f64.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tensor/ops.h"
#include "tensor/random.h"

namespace vlm2vec {

// Draws inputs: the same numbers (of f32, or of bf16) on every device and in every type.
class Draw {
 public:
  // With `rounded`, every number is one of bf16, in any type.
  Draw(Device device, DType dtype, uint64_t seed = 1, bool rounded = false)
      : device_(device), dtype_(dtype), rounded_(rounded), random_(seed) {}
  DType dtype() const { return dtype_; }
  Tensor normal(const Shape& shape) { return numbers(shape, DType::f32).to(dtype_); }
  Tensor positive(const Shape& shape) {
    const Tensor x = wide(shape);
    return multiply(x, x);
  }
  // Numbers in f32 beside bf16 activations: vectors of parameters, statistics, sums, embeddings.
  Tensor wide(const Shape& shape) { return normal(shape).to(acc_of(dtype_)); }
  // A frozen weight: bf16 beside f32.
  Tensor frozen(const Shape& shape) {
    return numbers(shape, DType::bf16).to(dtype_ == DType::f64 ? DType::f64 : DType::bf16);
  }
  Tensor ids(int64_t n, int64_t below) {
    std::vector<int32_t> values(static_cast<size_t>(n));
    for (int32_t& value : values) value = int32_t(random_.below(uint32_t(below)));
    return from_vector(values, {n}, device_);
  }
  Tensor every_third(int64_t rows) {  // distinct row numbers, not in order
    std::vector<int32_t> values;
    for (int64_t r = 0; r < rows; r += 3) values.insert(values.begin() + long(values.size() / 2), int32_t(r));
    return from_vector(values, {int64_t(values.size())}, device_);
  }
  Tensor keys(int64_t n) {
    std::vector<int64_t> values(static_cast<size_t>(n));
    for (int64_t& value : values) value = int64_t(random_.word()) << 20 | random_.word();
    return from_vector(values, {n}, device_);
  }
  Tensor adamw_chunks(int64_t n) {  // two, of which the second decays
    const int64_t half = n / 32 * 16;
    return from_vector(std::vector<int64_t>{0, half, 0, 0, half, n - half, 0, chunk_decays}, {2, 4}, device_);
  }
  Tensor zeros(const Shape& shape) { return vlm2vec::zeros(shape, dtype_, device_); }
  RopeTable angles(int64_t rows, int64_t half) {
    std::vector<float> cos(size_t(rows * half)), sin(cos.size());
    for (size_t i = 0; i < cos.size(); ++i) {
      const double angle = 3 * random_.normal();
      cos[i] = float(std::cos(angle)), sin[i] = float(std::sin(angle));
    }
    return {from_vector(cos, {rows, half}, device_).to(acc_of(dtype_)),
            from_vector(sin, {rows, half}, device_).to(acc_of(dtype_))};
  }

 private:
  Tensor numbers(const Shape& shape, DType rounded) {
    std::vector<float> values(size_t(numel(shape)));
    for (float& value : values) value = float(random_.normal());
    if (rounded == DType::bf16 || rounded_)
      for (float& value : values) value = bf16(value);
    return from_vector(values, shape, device_);
  }
  Device device_;
  DType dtype_;
  bool rounded_;
  Random random_;
};

using Results = std::vector<Tensor>;
struct OpCase {
  std::string name;
  std::function<Results(Draw&, int64_t rows, int64_t columns)> run;
};
inline std::ostream& operator<<(std::ostream& out, const OpCase& c) { return out << c.name; }

inline std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases = {
      {"fill",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor x = d.normal({r, c});
         kernel::fill(x, 0.1f);
         return Results{x};
       }},
      {"to_bf16_and_back",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{d.frozen({r, c}).to(DType::f32)};
       }},
      {"add",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{add(d.normal({r, c}), d.normal({r, c}))};
       }},
      {"add_to",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor y = d.normal({r, c});
         add_to(d.normal({r, c}), y);
         return Results{y};
       }},
      {"multiply",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{multiply(d.normal({r, c}), d.normal({r, c}))};
       }},
      {"scale",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{scale(d.normal({r, c}), -0.3f)};
       }},
      {"scale_columns",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor x = d.normal({r, c}), factors = d.wide({c});
         return Results{scale_columns(x, factors), scale_columns(x, factors, d.wide({c}))};
       }},
      {"swiglu",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{swiglu(d.normal({r, c}), d.normal({r, c}))};
       }},
      {"swiglu_backward",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [dgate, dup] = swiglu_backward(d.normal({r, c}), d.normal({r, c}), d.normal({r, c}));
         return Results{dgate, dup};
       }},
      {"packed_swiglu",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{swiglu(d.normal({r, 2 * c}))};
       }},
      {"packed_swiglu_backward",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{swiglu_backward(d.normal({r, c}), d.normal({r, 2 * c}))};
       }},
      {"dropout",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{dropout(d.normal({r, c}), d.keys(r), 0.25, 77)};
       }},
      {"adamw",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor p = d.wide({r, c}), g = d.wide({r, c}), m = d.wide({r, c}), v = d.positive({r, c});
         const Tensor chunks = d.adamw_chunks(r * c);
         kernel::adamw(p, g, m, v, chunks, {0.01, 0.9, 0.999, 1e-8, 0.1, 1 - 0.9 * 0.9, 1 - 0.999 * 0.999, 0.5});
         return Results{p, m, v};
       }},
      {"row_squares",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{row_squares(d.normal({r, c})), row_squares(d.frozen({r, c}))};
       }},
      {"dora_norms",
       [](Draw& d, int64_t out, int64_t r) {
         const RowNorms n = dora_norms(d.wide({out, r}), row_squares(scale(d.wide({out, 3}), 4)),
                                       d.wide({r, out}), d.wide({out, r}), 0.1);
         return Results{n.norms, n.inverse};
       }},
      {"column_sums_to",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor sums = d.wide({c});
         column_sums_to(d.normal({r, c}), sums);
         return Results{sums};
       }},
      {"sum_of_squares",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{from_vector(std::vector<double>{sum_of_squares(d.normal({r, c}))}, {1})};
       }},
      {"mean",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{mean(d.normal({r, c}))};
       }},
      {"gather_rows",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{gather_rows(d.normal({r, c}), d.ids(2 * r + 1, r))};
       }},
      {"gather_rows_bf16",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{gather_rows(d.frozen({r, c}), d.ids(2 * r + 1, r), d.dtype())};
       }},
      {"blend_rows",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor ids = d.ids(3 * r, r).view({r, 3}), shares = d.wide({r, 3}), table = d.wide({r, c});
         scatter_add_rows_to(d.normal({r, c}), ids, table, shares);
         return Results{blend_rows(d.normal({r, c}), ids, shares), table};
       }},
      {"scatter_add_rows_to",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor table = d.normal({r, c});
         scatter_add_rows_to(d.normal({3 * r, c}), d.ids(3 * r, r), table);
         const Tensor parameter = d.wide({r, c});
         scatter_add_rows_to(d.normal({3 * r, c}), d.ids(3 * r, r), parameter);
         return Results{table, parameter};
       }},
      {"replace_rows",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor rows = d.every_third(r);
         return Results{replace_rows(d.normal({r, c}), rows, d.normal({rows.numel(), c}))};
       }},
      {"clear_rows",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{clear_rows(d.normal({r, c}), d.every_third(r))};
       }},
      {"concat_rows",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{concat_rows({d.normal({r, c}), d.normal({2, c}), d.normal({0, c})})};
       }},
      {"rms_norm",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [y, rstd] = rms_norm(d.normal({r, c}), d.wide({c}), 1e-5);
         return Results{y, rstd};
       }},
      {"add_rms_norm",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [sum, y, rstd] = add_rms_norm(d.normal({r, c}), d.normal({r, c}), d.wide({c}), 1e-5);
         return Results{sum, y, rstd};
       }},
      {"rms_norm_dx",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor dy = d.normal({r, c}), x = d.normal({r, c}), w = d.wide({c}), rstd = d.positive({r});
         return Results{rms_norm_dx(dy, x, w, rstd), rms_norm_dx(dy, x, w, rstd, d.normal({r, c}))};
       }},
      {"rms_norm_dw_to",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor dw = d.wide({c});
         rms_norm_dw_to(d.normal({r, c}), d.normal({r, c}), d.wide({r}), dw);
         return Results{dw};
       }},
      {"layer_norm",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [y, mean, rstd] = layer_norm(d.normal({r, c}), d.wide({c}), d.wide({c}), 1e-2);
         return Results{y, mean, rstd};
       }},
      {"add_layer_norm",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor x = d.normal({r, c}), added = d.normal({r, c});
         const auto [sum, y, mean, rstd] = add_layer_norm(x, added, d.wide({c}), d.wide({c}), 1e-2);
         return Results{sum, y, mean, rstd};
       }},
      {"layer_norm_dx",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor dy = d.normal({r, c}), x = d.normal({r, c}), w = d.wide({c}), mean = d.wide({r});
         const Tensor rstd = d.positive({r});
         return Results{layer_norm_dx(dy, x, w, mean, rstd), layer_norm_dx(dy, x, w, mean, rstd, d.normal({r, c}))};
       }},
      {"layer_norm_dw_to",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor dw = d.wide({c});
         layer_norm_dw_to(d.normal({r, c}), d.normal({r, c}), d.wide({r}), d.wide({r}), dw);
         return Results{dw};
       }},
      {"l2_normalize",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [y, norm] = l2_normalize(d.normal({r, c}), 1e-12);
         return Results{y, norm};
       }},
      {"l2_normalize_short",
       [](Draw& d, int64_t r, int64_t c) {  // rows shorter than eps
         const auto [y, norm] = l2_normalize(d.normal({r, c}), 1e3);
         return Results{y, norm, l2_normalize_dx(d.wide({r, c}), y, norm, 1e3, d.dtype())};
       }},
      {"l2_normalize_dx",
       [](Draw& d, int64_t r, int64_t c) {
         return Results{l2_normalize_dx(d.wide({r, c}), d.wide({r, c}), d.positive({r}),
                                        1e-12, d.dtype())};
       }},
      {"infonce",
       [](Draw& d, int64_t r, int64_t c) {
         const auto [loss, lse, best] = infonce(d.wide({r, c}), d.wide({2 * r, c}), 0.3);
         return Results{loss, lse, best};
       }},
      {"infonce_of_groups",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor q = d.wide({r, c}), t = d.wide({2 * r, c});
         const Matching matching{d.ids(r, 2 * r), d.ids(2 * r, 3)};
         const auto [loss, lse, best] = infonce(q, t, 0.3, matching);
         const auto [dq, dt] = infonce_backward(d.wide({r}), q, t, lse, 0.3, matching);
         return Results{loss, lse, best, dq, dt};
       }},
      {"infonce_backward",
       [](Draw& d, int64_t r, int64_t c) {
         const Tensor q = d.wide({r, c}), t = d.wide({2 * r, c});
         const auto [dq, dt] = infonce_backward(d.wide({r}), q, t, infonce(q, t, 0.3).lse, 0.3);
         return Results{dq, dt};
       }},
  };
  for (const auto& [name, f] :
       {std::pair{"silu", Activation::silu}, {"gelu", Activation::gelu}, {"quick_gelu", Activation::quick_gelu},
        {"gelu_tanh", Activation::gelu_tanh}}) {
    // Wide inputs reach every piece of a function that is made of pieces.
    cases.push_back(
        {name, [f](Draw& d, int64_t r, int64_t c) { return Results{activate(scale(d.wide({r, c}), 4), f)}; }});
    cases.push_back({std::string(name) + "_dx", [f](Draw& d, int64_t r, int64_t c) {
                       return Results{activate_dx(d.wide({r, c}), scale(d.wide({r, c}), 4), f)};
                     }});
  }
  for (const bool inverse : {false, true})
    cases.push_back({inverse ? "rope_inverse" : "rope", [inverse](Draw& d, int64_t r, int64_t c) {
                       const RopeTable small = d.angles(r, 2),
                                       large = d.angles(r, std::max<int64_t>(1, c / 2));  // some columns are not turned
                       return Results{rope(d.wide({r, c}), small, int(c / 5), inverse),
                                      rope(d.wide({r, c}), large, c > 1, inverse)};
                     }});
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const std::string name = std::string("matmul_") + (ta ? "t" : "n") + (tb ? "t" : "n");
      const auto shape = [](bool transposed, int64_t rows, int64_t columns) {
        return transposed ? Shape{columns, rows} : Shape{rows, columns};
      };
      cases.push_back({name, [=](Draw& d, int64_t m, int64_t k) {
                         const Tensor a = d.wide(shape(ta, m, k));
                         const int64_t n = m + 3;
                         return Results{matmul(a, d.wide(shape(tb, k, n)), ta, tb),
                                        matmul(a, d.wide(shape(tb, k, n)), ta, tb, d.wide({n})),
                                        matmul(a, d.frozen(shape(tb, k, n)), ta, tb, d.wide({n})),
                                        matmul(d.frozen(shape(ta, m, k)), d.frozen(shape(tb, k, n)), ta, tb)};
                       }});
      cases.push_back({name + "_to", [=](Draw& d, int64_t m, int64_t k) {
                         const Tensor c = d.wide({m, m + 3});
                         matmul_to(d.wide(shape(ta, m, k)), d.wide(shape(tb, k, m + 3)), ta, tb, c);
                         return Results{c};
                       }});
    }
  return cases;
}

}  // namespace vlm2vec
