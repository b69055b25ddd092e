// One optimiser step.
#include <cmath>
#include <limits>

#include "mmeb/training/grad_cache.h"
#include "mmeb/training/training_batch.h"
#include "mmeb/training/training_run.h"
#include "tensor/random.h"
#include "tensor/stopwatch.h"

namespace vlm2vec {
namespace {

double learning_rate(const TrainOptions& o, int64_t step) {
  const double share = o.warmup_steps > 0 ? o.warmup_steps : o.warmup_ratio;
  const int64_t warmup = int64_t(o.warmup_steps >= 1 ? o.warmup_steps : std::ceil(share * double(o.max_steps)));
  return o.learning_rate * Schedule{parse_schedule(o.lr_scheduler_type), warmup, o.max_steps}.factor(step - 1);
}

void add(StepLog& log, const TrainingBatch& batch, const ContrastiveResult& result) {
  log.embed_seconds += result.embed_seconds, log.loss_seconds += result.loss_seconds;
  log.backward_seconds += result.backward_seconds;
  log.duplicates += batch.duplicates;
  log.pairs += int64_t(batch.queries.size());
  log.tokens_without_picture += batch.tokens_without_picture;
  log.cut_texts += result.cut.cut;
}

// What a step has computed on its device, read together at its end: each read makes the host wait for the device.
struct Outcome {
  TrainingBatch batch;
  Tensor loss, best;
};

std::string shown(double x) { return std::isnan(x) ? "NaN" : sentence(x); }

}  // namespace

StepLog train_step(TrainerRun& run, int64_t step) {
  const TrainOptions& o = run.options;
  Stopwatch whole, part;
  reset_peak_bytes();
  Encoder& encoder = *run.model.encoder;
  encoder.backbone->dropout.active = run.model.has_dropout();
  encoder.backbone->dropout.seed = mix(o.seed, uint64_t(step));
  run.parameters.clear_gradients();
  StepLog log;
  log.step = step;
  log.learning_rate = learning_rate(o, step);
  BatchOptions batch_options{o.num_hardneg, o.mask_duplicates, mix(o.seed, uint64_t(step))};
  if (o.bad_rows == "skip") batch_options.faults = [&](auto inputs) { return encoder.processor.faults(inputs); };
  std::vector<Outcome> outcomes;  // of batches with pairs
  for (int64_t i = 0; i < o.gradient_accumulation_steps; ++i) {
    part.lap();
    const std::vector<RowId> ids = run.rows.next();
    batch_options.first = size_t(log.pairs + log.skipped);
    const TrainingBatch batch = make_batch(run.rows, ids, encoder.image_token(), batch_options, run.device);
    log.data_seconds += part.lap();
    run.bad_rows->add(batch.left_out);
    log.skipped += int64_t(ids.size() - batch.queries.size());
    if (batch.queries.empty()) continue;
    run.single_pairs += ids.size() > 1 && batch.targets.size() == 1;
    const ContrastiveResult result = reading_rows(o.bad_rows, [&] {
      return contrastive_step(encoder, batch.queries, batch.targets,
                              {o.temperature, o.gc_q_chunk_size, o.gc_p_chunk_size, batch.matching, run.comm});
    });
    outcomes.push_back({batch, result.loss, result.best});
    add(log, batch, result);
    run.cut.add(result.cut);
  }
  run.unusable = !outcomes.empty() ? 0 : run.unusable + log.skipped;
  if (run.unusable >= run.rows.count())
    fail(Exit::data, "train: step ", step, ": none of the last ", run.unusable, " rows can be used; ",
         run.bad_rows->note());
  part.lap();
  if (const double batches = double(outcomes.size()); batches > 0) {
    run.comm.all_reduce(run.parameters.gradients());
    Tensor squares = squared_norm(run.parameters.gradients());
    std::vector<Tensor*> down{&squares};
    for (Outcome& outcome : outcomes) down.insert(down.end(), {&outcome.loss, &outcome.best});
    Tensor::move_together(down, Device::cpu);
    for (const Outcome& outcome : outcomes) {
      log.loss += item(outcome.loss);
      log.in_batch_accuracy += outcome.batch.accuracy(to_vector<int32_t>(outcome.best));
    }
    for (double StepLog::*mean : {&StepLog::loss, &StepLog::in_batch_accuracy, &StepLog::duplicates})
      log.*mean /= batches;
    const GradientNorm gradient = clip_gradients(item(squares), o.max_grad_norm, 1 / batches);
    if (!std::isfinite(log.loss) || !std::isfinite(gradient.norm))
      fail(Exit::failed, "train: step ", step, ": the loss is ", shown(log.loss), " and the gradient norm ",
           shown(gradient.norm), "; lower --learning_rate or raise --temperature");
    log.grad_norm = gradient.norm;
    run.optimiser.step(log.learning_rate, gradient.scale);
    if (run.model.lora) run.model.lora->update();
  } else {
    log.loss = log.grad_norm = log.in_batch_accuracy = log.duplicates = std::numeric_limits<double>::quiet_NaN();
  }
  log.optimiser_seconds = part.lap();
  log.seconds = whole.lap();
  log.peak_bytes = memory_statistics().peak_bytes;
  return log;
}

}  // namespace vlm2vec
