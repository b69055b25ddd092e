// Checks every differentiable op against central differences, in f64, through the kernels that define the ops.
#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "nn/state.h"
#include "show/selftest.h"

namespace vlm2vec {
namespace {

using Inputs = std::vector<Var>;

struct OpCase {
  std::string name;
  std::vector<Shape> shapes;  // shapes of the inputs, which are filled with N(0, 1)
  std::function<Var(const Inputs&)> f;
};

std::vector<OpCase> op_cases(Device device, uint64_t seed) {
  const Tensor ids = from_vector<int32_t>({2, 0, 2, 3}, {4}, device),
               two_rows = from_vector<int32_t>({3, 1}, {2}, device);
  const Tensor pairs = from_vector<int32_t>({3, 0, 3, 1, 1, 3}, {3, 2}, device),
               shares = normal_tensor({3, 2}, 1, seed, DType::f64, Device::cpu).to(device);
  const Tensor keys = from_vector<int64_t>({7, 1, 7, 9, 4}, {5}, device);
  const Tensor cu = from_vector<int32_t>({0, 2, 5}, {3}, device),
               cu_keys = from_vector<int32_t>({0, 3, 7}, {3}, device);
  const Tensor angles = normal_tensor({5, 2}, 1, seed, DType::f64, Device::cpu);
  std::vector<double> cosines, sines;
  for (const double angle : to_vector<double>(angles))
    cosines.push_back(std::cos(angle)), sines.push_back(std::sin(angle));
  const RopeTable table{from_vector(cosines, {5, 2}, device), from_vector(sines, {5, 2}, device)};
  const AttentionShape causal{4, 2, 3, true, 0.7}, packed{2, 2, 3, false, 0.5, 0, 6, 12};
  const auto activation = [](Activation f) { return [f](const Inputs& x) { return activate(x[0], f); }; };
  return {
      {"add", {{5, 3}, {5, 3}}, [](const Inputs& x) { return x[0] + x[1]; }},
      {"multiply", {{5, 3}, {5, 3}}, [](const Inputs& x) { return x[0] * x[1]; }},
      {"scale", {{5, 3}}, [](const Inputs& x) { return scale(x[0], -1.5); }},
      {"silu", {{5, 3}}, activation(Activation::silu)},
      {"gelu", {{5, 3}}, activation(Activation::gelu)},
      {"quick_gelu", {{5, 3}}, activation(Activation::quick_gelu)},
      {"swiglu", {{5, 3}, {5, 3}}, [](const Inputs& x) { return swiglu(x[0], x[1]); }},
      {"dropout", {{5, 3}}, [=](const Inputs& x) { return dropout(x[0], keys, 0.4, seed); }},
      {"view",
       {{4, 3}},
       [](const Inputs& x) {
         return multiply(view(x[0], {2, 6}), view(x[0], {2, 6}));
       }},
      {"gather_rows", {{4, 3}}, [=](const Inputs& x) { return gather_rows(x[0], ids); }},
      {"blend_rows", {{4, 3}}, [=](const Inputs& x) { return blend_rows(x[0], pairs, shares); }},
      {"replace_rows", {{5, 3}, {2, 3}}, [=](const Inputs& x) { return replace_rows(x[0], two_rows, x[1]); }},
      {"concat_rows",
       {{2, 3}, {1, 3}},
       [](const Inputs& x) {
         return concat_rows({x[0], x[1], x[0]});
       }},
      {"matmul", {{5, 4}, {4, 3}}, [](const Inputs& x) { return matmul(x[0], x[1]); }},
      {"linear", {{5, 4}, {3, 4}, {3}}, [](const Inputs& x) { return linear(x[0], x[1], x[2]); }},
      {"rms_norm", {{5, 6}, {6}}, [](const Inputs& x) { return rms_norm(x[0], x[1], 1e-6); }},
      {"layer_norm", {{5, 6}, {6}, {6}}, [](const Inputs& x) { return layer_norm(x[0], x[1], x[2], 1e-6); }},
      {"l2_normalize", {{5, 6}}, [](const Inputs& x) { return l2_normalize(x[0]); }},
      {"rope", {{5, 12}}, [=](const Inputs& x) { return rope(x[0], table, 3); }},
      {"attention, causal, grouped",
       {{5, 12}, {7, 6}, {7, 6}},
       [=](const Inputs& x) { return attention(x[0], x[1], x[2], cu, cu_keys, causal); }},
      {"attention, packed", {{5, 18}}, [=](const Inputs& x) { return attention(x[0], cu, packed); }},
      {"mean", {{5, 3}}, [](const Inputs& x) { return mean(x[0]); }},
      {"info_nce", {{4, 5}, {8, 5}}, [](const Inputs& x) { return info_nce(x[0], x[1], 0.7).loss; }},
      {"checkpoint",
       {{5, 3}},
       [](const Inputs& x) {
         return checkpoint([](const Var& y) { return y * activate(y, Activation::silu); }, x[0]);
       }},
  };
}

}  // namespace

std::vector<Check> gradient_checks(Device device, uint64_t seed) {
  std::vector<Check> checks;
  for (const OpCase& op : op_cases(device, seed)) {
    std::vector<Tensor> inputs;
    for (const Shape& shape : op.shapes)
      inputs.push_back(normal_tensor(shape, 1, seed + inputs.size(), DType::f64, device));
    checks.push_back({"gradient of " + op.name, gradcheck(op.f, inputs), 1e-7});
  }
  return checks;
}

}  // namespace vlm2vec
