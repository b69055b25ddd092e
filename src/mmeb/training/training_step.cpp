// One optimiser step.
#include <cmath>
#include <limits>

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
  log.data_seconds += result.data_seconds, log.embed_seconds += result.embed_seconds;
  log.loss_seconds += result.loss_seconds, log.backward_seconds += result.backward_seconds;
  log.duplicates += batch.duplicates;
  log.pairs += int64_t(batch.queries.size());
  log.tokens_without_picture += batch.tokens_without_picture;
  log.cut_texts += result.cut.cut;
}

// What a step has computed on its device, read together at its end: each read makes the host wait for the device.
struct Outcome {
  TrainingBatch batch;
  Tensor loss, best, scale_gradient;
};

std::string shown(double x) { return std::isnan(x) ? "NaN" : sentence(x); }

// Draws and reads the next batch. `first` as in BatchOptions.
ReadBatch read_batch(TrainerRun& run, int64_t step, int64_t first) {
  const TrainOptions& o = run.options;
  const Encoder& encoder = *run.model.encoder;
  BatchOptions options{o.num_hardneg, o.mask_duplicates, mix(o.seed, uint64_t(step)), size_t(first),
                       style_named(encoder.family, o.prompt)};
  if (o.bad_rows == "skip") options.faults = [&](auto inputs) { return encoder.processor.faults(inputs); };
  const std::vector<RowId> ids = run.rows.next();
  ReadBatch read{int64_t(ids.size()), make_batch(run.rows, ids, encoder.image_token(), options), {}};
  const TrainingBatch& batch = read.batch;
  if (!batch.queries.empty())
    read.first = reading_rows(o.bad_rows, [&] {
      return read_first_chunks(encoder, batch.queries, batch.targets, contrastive_options(o, {}));
    });
  return read;
}

// Reads the outcomes back and moves the weights by the mean gradient.
void update_weights(TrainerRun& run, std::vector<Outcome>& outcomes, StepLog& log) {
  const double batches = double(outcomes.size());
  run.comm.all_reduce(run.parameters.gradients());
  Tensor squares = squared_norm(run.parameters.gradients());
  std::vector<Tensor*> down{&squares};
  LogitScale* const logit_scale = run.model.logit_scale.get();
  for (Outcome& outcome : outcomes) {
    down.insert(down.end(), {&outcome.loss, &outcome.best});
    if (logit_scale) down.push_back(&outcome.scale_gradient);
  }
  Tensor::move_together(down, Device::cpu);
  double scale_gradient = 0;
  for (const Outcome& outcome : outcomes) {
    if (logit_scale) scale_gradient += item(outcome.scale_gradient);
    log.loss += item(outcome.loss);
    log.in_batch_accuracy += outcome.batch.accuracy(to_vector<int32_t>(outcome.best));
  }
  for (double StepLog::*mean : {&StepLog::loss, &StepLog::in_batch_accuracy, &StepLog::duplicates})
    log.*mean /= batches;
  const double sum_of_squares = item(squares) + scale_gradient * scale_gradient;
  const GradientNorm gradient = clip_gradients(sum_of_squares, run.options.max_grad_norm, 1 / batches);
  if (!std::isfinite(log.loss) || !std::isfinite(gradient.norm))
    fail(Exit::failed, "train: step ", log.step, ": the loss is ", shown(log.loss), " and the gradient norm ",
         shown(gradient.norm), "; lower --learning_rate or raise --temperature");
  log.grad_norm = gradient.norm;
  finish_saving(run);
  run.optimiser.step(log.learning_rate, gradient.scale);
  if (logit_scale) logit_scale->step(scale_gradient, log.learning_rate, gradient.scale);
  if (run.model.lora) run.model.lora->update();
}

}  // namespace

ContrastiveOptions contrastive_options(const TrainOptions& o, const Matching& matching) {
  return {.temperature = o.temperature,
          .query_chunk = o.gc_q_chunk_size,
          .target_chunk = o.gc_p_chunk_size,
          .chunk_tokens = o.gc_tokens,
          .matching = matching,
          .bf16_scores = o.bf16_scores,
          .learn_temperature = o.learn_temperature};
}

void finish_saving(TrainerRun& run) {
  if (run.saving) run.saving.take();
}

StepLog train_step(TrainerRun& run, int64_t step) {
  const TrainOptions& o = run.options;
  Stopwatch whole, part;
  reset_peak_bytes();
  Encoder& encoder = *run.model.encoder;
  encoder.backbone->dropout.seed = mix(o.seed, uint64_t(step));
  run.parameters.clear_gradients();
  StepLog log;
  log.step = step;
  log.learning_rate = learning_rate(o, step);
  log.temperature = run.model.logit_scale ? run.model.logit_scale->temperature() : o.temperature;
  std::vector<Outcome> outcomes;  // of batches with pairs
  for (int64_t i = 0, rows = 0; i < o.gradient_accumulation_steps; ++i) {
    part.lap();
    ReadBatch read = run.next ? run.next.take() : read_batch(run, step, rows);
    TrainingBatch& batch = read.batch;
    log.data_seconds += part.lap();
    run.bad_rows->add(batch.left_out);
    log.skipped += read.rows - int64_t(batch.queries.size());
    rows += read.rows;
    if (batch.queries.empty()) continue;
    run.single_pairs += read.rows > 1 && batch.targets.size() == 1;
    ContrastiveOptions options = contrastive_options(o, batch.matching);
    options.temperature = log.temperature, options.comm = run.comm, options.tape_bytes = run.tape_room;
    if (i + 1 < o.gradient_accumulation_steps)
      options.then = [&] { run.next = Ahead<ReadBatch>([&run, step, rows] { return read_batch(run, step, rows); }); };
    else if (step < o.max_steps)
      options.then = [&] { run.next = Ahead<ReadBatch>([&run, step] { return read_batch(run, step + 1, 0); }); };
    const ContrastiveResult result = reading_rows(o.bad_rows, [&] {
      return contrastive_step(encoder, batch.queries, batch.targets, options, std::move(read.first));
    });
    add(log, batch, result);
    run.cut.add(result.cut);
    outcomes.push_back({std::move(batch), result.loss, result.best, result.scale_gradient});
  }
  run.unusable = !outcomes.empty() ? 0 : run.unusable + log.skipped;
  if (run.unusable >= run.rows.count())
    fail(Exit::data, "train: step ", step, ": none of the last ", run.unusable, " rows can be used; ",
         run.bad_rows->note());
  part.lap();
  if (!outcomes.empty()) update_weights(run, outcomes, log);
  else log.loss = log.grad_norm = log.in_batch_accuracy = log.duplicates = std::numeric_limits<double>::quiet_NaN();
  log.optimiser_seconds = part.lap();
  log.seconds = whole.lap();
  log.peak_bytes = memory_statistics().peak_bytes;
  return log;
}

}  // namespace vlm2vec
