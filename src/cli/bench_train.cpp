// A training step, from the rows to the new weights.
#include <optional>

#include "cli/bench.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/train_options.h"
#include "nn/adapters.h"
#include "nn/optim.h"

namespace vlm2vec {
namespace {

struct Pairs {
  std::vector<EncoderInput> queries, targets;
};

Pairs pairs_of(const Encoder& encoder, const BenchShape& shape) {
  Pairs pairs;
  for (int64_t i = 0; i < shape.pairs; ++i) {
    pairs.queries.push_back(bench_input(encoder, shape.picture, shape.text, uint64_t(2 * i + 1)));
    pairs.targets.push_back(bench_input(encoder, 0, shape.text, uint64_t(2 * i + 2)));
  }
  return pairs;
}

// The adapters that train makes by default.
AttachedLora default_adapters(Backbone& backbone, bool dora) {
  const TrainOptions o;
  AttachedLora lora =
      attach_lora(backbone, LoraConfig{int(o.lora_r), o.lora_alpha, o.lora_dropout, o.lora_target_modules, dora},
                  &backbone.dropout);
  lora.initialise(1);
  return lora;
}

// A gradient by a weight costs as much as the product itself, and so does one by the rows. Frozen weights need none by
// themselves, a frozen tower none at all. Adapters' products count among the decoder's; gradients by the adapters, 1 to
// 5 % of the step, do not.
double step_flops(Encoder& encoder, const Pairs& pairs, bool adapters, int64_t& tokens) {
  const ForwardCost q = forward_cost(encoder, pairs.queries), t = forward_cost(encoder, pairs.targets);
  tokens = q.tokens + t.tokens;
  const double passes = adapters ? 2 : 3;
  return (q.tower + t.tower) * (is_frozen(encoder.backbone->image_encoder()) ? 1 : passes) +
         (q.decoder + t.decoder) * passes;
}

BenchRow step_row(const BenchOptions& options, const BenchStep& step) {
  const auto encoder = bench_encoder(options);
  Backbone& backbone = *encoder->backbone;
  std::optional<AttachedLora> lora;
  if (step.adapters) lora = default_adapters(backbone, step.dora);
  TrainedParameters parameters(lora ? lora->parameters() : backbone.parameters(), options.bf16 && !lora);
  if (lora) lora->update();
  AdamW optimiser(parameters, {});
  const Pairs pairs = pairs_of(*encoder, *options.shape);
  BenchRow row{.name = step.name, .sizes = {{"picture", options.shape->picture}, {"text", options.shape->text}}};
  row.sizes.insert(row.sizes.end(), {{"adapters", step.adapters}, {"dora", step.dora}, {"chunk", step.chunk}});
  row.flops = step_flops(*encoder, pairs, step.adapters, row.tokens);
  row.pairs = options.shape->pairs;
  backbone.dropout.active = step.adapters;
  reset_peak_bytes();
  row.timing = measure(options, [&] {
    backbone.dropout.seed = uint64_t(optimiser.steps());
    parameters.clear_gradients();
    contrastive_step(*encoder, pairs.queries, pairs.targets, {.query_chunk = step.chunk, .target_chunk = step.chunk});
    optimiser.step(1e-5, clip_gradients(item(squared_norm(parameters.gradients())), 1).scale);
    if (lora) lora->update();
  });
  row.peak_bytes = memory_statistics().peak_bytes;
  return row;
}

}  // namespace

std::vector<BenchRow> bench_train(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  for (const BenchStep& step : options.shape->steps) rows.push_back(step_row(options, step));
  return rows;
}

}  // namespace vlm2vec
