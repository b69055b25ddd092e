#include "vlm/backbone.h"

#include "nn/adapters.h"

namespace vlm2vec {

Var Backbone::operator()(const TokenBatch& batch) {
  if (trace) trace_inputs(batch);
  const Var x = words(batch);
  return read(batch, x, batch.seen ? Var(batch.seen) : batch.patches ? see(batch, batch.patches) : Var());
}

bool Backbone::run_frozen(TokenBatch& batch) {
  if (batch.patches && is_frozen(image_encoder())) {
    const NoGrad no_grad;
    batch.seen = see(batch, batch.patches).value();
    batch.patches = {}, batch.patch_dropout_ids = {};
    for (Tensor* x : batch.placed->of_see()) *x = {};
  }
  return !batch.patches;
}

Var Backbone::unit(const Var& x) const {
  if (kept == 0) return l2_normalize(x);
  const int64_t rows = x.value().rows(), width = x.value().columns();
  std::vector<int32_t> first;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < kept; ++i) first.push_back(int32_t(row * width + i));
  const Var cut = gather_rows(view(x, {-1, 1}), from_vector(first, {rows * kept}, x.value().device()));
  return l2_normalize(view(cut, {rows, kept}));
}

void Backbone::trace_inputs(const TokenBatch& batch) const { trace("input_ids", batch.ids); }

Var Backbone::run(const std::function<Var(const Var&)>& layer, const Var& x) const {
  return gradient_checkpointing ? checkpoint(layer, x) : layer(x);
}

int64_t count_parameters(Module& module) {
  int64_t n = 0;
  module.each_parameter([&](Parameter& p) { n += numel(p.shape()); });
  return n;
}

double product_flops(Module& module, int64_t rows) {
  double flops = 0;
  module.each_parameter(
      [&](Parameter& p) { flops += p.is_matrix() ? 2.0 * double(rows) * double(numel(p.shape())) : 0; });
  return flops;
}

double attention_flops(const Tensor& cu_seqlens, int64_t width, bool causal) {
  const auto cu = to_vector<int64_t>(cu_seqlens);
  double pairs = 0;
  for (size_t i = 1; i < cu.size(); ++i) {
    const double n = double(cu[i] - cu[i - 1]);
    pairs += causal ? n * (n + 1) / 2 : n * n;
  }
  return 4 * pairs * double(width);
}

}  // namespace vlm2vec
