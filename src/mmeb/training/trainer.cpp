#include "mmeb/training/trainer.h"

#include <cmath>
#include <cstdio>

#include "mmeb/evaluation/model_hash.h"
#include "mmeb/interrupt.h"
#include "mmeb/model.h"
#include "mmeb/progress.h"
#include "mmeb/training/bad_rows.h"
#include "mmeb/training/checkpoint.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/memory_plan.h"
#include "mmeb/training/trained_model.h"
#include "mmeb/training/training_batch.h"
#include "mmeb/training/training_checks.h"
#include "mmeb/training/training_log.h"
#include "tensor/host_memory.h"
#include "tensor/io/files.h"
#include "tensor/io/folder_lock.h"
#include "tensor/random.h"
#include "tensor/stopwatch.h"
#include "vlm/image_cache.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

long long count(const std::vector<Parameter*>& parameters) {
  long long n = 0;
  for (const Parameter* p : parameters) n += numel(p->shape());
  return n;
}

// Embeds, differentiates, clips and updates, with the mean gradient of gradient_accumulation_steps batches. If it
// throws, nothing has changed as long as the optimiser has not stepped.
StepLog train_step(int64_t step, TrainingRows& rows, const TrainedModel& model, AdamW& optimiser, const TrainOptions& o,
                   Device device, BadRows& bad_rows) {
  Stopwatch whole, part;
  reset_peak_bytes();
  Encoder& encoder = *model.encoder;
  encoder.dropout.active = model.has_dropout();
  encoder.dropout.seed = mix(o.seed, uint64_t(step));
  const TrainedParameters& parameters = optimiser.parameters();
  parameters.clear_gradients();
  const double batches = double(o.gradient_accumulation_steps);
  StepLog log;
  log.step = step;
  BatchOptions batch_options{o.num_hardneg, o.mask_duplicates, mix(o.seed, uint64_t(step))};
  if (o.bad_rows == "skip") batch_options.faults = [&](auto inputs) { return encoder.faults(inputs); };
  for (int64_t i = 0; i < o.gradient_accumulation_steps; ++i) {
    part.lap();
    const std::vector<RowId> ids = rows.next();
    batch_options.first = size_t(log.pairs + log.skipped);
    const TrainingBatch batch = make_batch(rows, ids, encoder.image_token(), batch_options, device);
    log.data_seconds += part.lap();
    bad_rows.add(batch.left_out);
    log.skipped += int64_t(ids.size() - batch.queries.size());
    if (batch.queries.empty() && ids.size() == 1) continue;  // the last row of an epoch may be a batch of its own
    if (batch.queries.empty())
      fail(Exit::data, "train: step ", step, ": none of ", ids.size(), " rows can be used; ", bad_rows.note());
    const ContrastiveResult result = reading_rows(o.bad_rows, [&] {
      return contrastive_step(encoder, batch.queries, batch.targets,
                              {o.temperature, o.gc_q_chunk_size, o.gc_p_chunk_size, batch.matching});
    });
    log.embed_seconds += result.embed_seconds, log.loss_seconds += result.loss_seconds;
    log.backward_seconds += result.backward_seconds;
    log.loss += result.loss / batches;
    log.in_batch_accuracy += batch.accuracy(result.best) / batches;
    log.duplicates += batch.duplicates / batches;
    log.pairs += int64_t(batch.queries.size());
    log.tokens_without_picture += batch.tokens_without_picture;
  }
  part.lap();
  Comm().all_reduce(parameters.gradients());
  const GradientNorm gradient = clip_gradients(parameters.gradients(), o.max_grad_norm, 1 / batches);
  if (!std::isfinite(log.loss) || !std::isfinite(gradient.norm))
    fail(Exit::failed, "train: step ", step, ": the loss is ", log.loss, " and the gradient norm ", gradient.norm,
         "; lower --learning_rate or raise --temperature");

  const int64_t warmup = o.warmup_steps > 0 ? o.warmup_steps : int64_t(std::ceil(o.warmup_ratio * double(o.max_steps)));
  log.grad_norm = gradient.norm;
  log.learning_rate =
      o.learning_rate * Schedule{parse_schedule(o.lr_scheduler_type), warmup, o.max_steps}.factor(step - 1);
  optimiser.step(log.learning_rate, gradient.scale);
  if (model.lora) model.lora->update();
  log.optimiser_seconds = part.lap();
  log.seconds = whole.lap();
  log.peak_bytes = memory_statistics().peak_bytes;
  return log;
}

// What the plan decodes is not decoded again.
EncoderOptions with_pictures(EncoderOptions options) {
  options.images = std::make_shared<ImageCache>(kImageCacheBytes);
  return options;
}

// Draws the batches that a checkpoint has seen; how many pairs they were.
int64_t skip(TrainingRows& rows, int64_t batches) {
  int64_t pairs = 0;
  for (int64_t i = 0; i < batches; ++i) pairs += int64_t(rows.next().size());
  return pairs;
}

}  // namespace

MemoryPlan plan_training(TrainOptions o, Device device) {
  check_options(o);
  o.sampling = sampling_of(o);
  TrainingRows rows(o);
  if (o.bad_rows == "error") reading_rows(o.bad_rows, [&] { rows.check_pictures(); });
  o.max_steps = rows.steps();
  return plan_memory(o, rows, {}, with_pictures(encoder_options(o, device)));
}

TrainResult train(TrainOptions o, Device device, bool quiet) {
  check_options(o);
  o.sampling = sampling_of(o);
  TrainingRows rows(o);
  if (o.bad_rows == "error") reading_rows(o.bad_rows, [&] { rows.check_pictures(); });
  std::optional<FolderLock> lock;
  if (fs::is_directory(o.output_dir)) lock.emplace(o.output_dir), remove_leftovers(o.output_dir);
  const std::optional<FoundCheckpoint> checkpoint = find_checkpoint(o);
  std::optional<ModelHash> base;
  if (o.lora || !o.adapter.empty()) base.emplace(o.model_name, "", "");
  const RunIdentity run{o, rows.fingerprint(), base ? hex(base->digest()) : ""};
  if (checkpoint) require_same_run(*checkpoint, run);
  if (checkpoint && checkpoint->finished) {
    if (!quiet)
      std::fprintf(stderr, "train: %s has this run, finished with step %lld; nothing is to be done\n",
                   o.output_dir.c_str(), static_cast<long long>(checkpoint->step));
    return {};
  }
  o.max_steps = rows.steps();
  const EncoderOptions encoder = with_pictures(encoder_options(o, device));
  if (!quiet) std::fputs("train: looking at the first rows, to plan memory\n", stderr);
  const MemoryPlan plan = plan_memory(o, rows, checkpoint, encoder);
  if (!quiet) std::fputs(plan.table().c_str(), stderr);
  const std::string shortage = plan.require(host_memory(), o);
  if (!quiet && !shortage.empty()) std::fprintf(stderr, "%s\n", shortage.c_str());
  const int64_t first = checkpoint ? checkpoint->step : 0;
  std::vector<std::string> notes;
  const TrainedModel model = load_trained_model(o, checkpoint, encoder, notes);
  if (base) base->require_unchanged();
  TrainedParameters parameters(parameters_to_train(model, o), model.bf16_storage);
  AdamW optimiser(parameters, {o.adam_beta1, o.adam_beta2, o.adam_epsilon, o.weight_decay});
  if (checkpoint) restore_optimiser(*checkpoint, optimiser, parameters);

  make_folder(o.output_dir);
  if (!lock) lock.emplace(o.output_dir);
  TrainingLog log(o, first, rows.epochs());
  BadRows bad_rows(o.output_dir, first > 0);
  begin_run(run, checkpoint.has_value());
  if (model.lora) print_warning(*model.lora);
  if (!quiet) {
    for (const std::string& note : notes) std::fprintf(stderr, "%s\n", note.c_str());
    if (const std::string note = rows.note(); !note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
    const std::string from = first ? sentence(", going on after step ", first) : "";
    std::fprintf(stderr, "train: %s, %lld of %lld parameters trained%s\n", rows.summary().c_str(),
                 count(parameters.parameters()), count(model.encoder->parameters()), from.c_str());
  }

  const auto save = [&](int64_t step) { save_checkpoint(run, step, model, optimiser, log.trainer_state()); };
  const InterruptGuard guard;
  TrainResult result;
  result.planned_peak_bytes = plan.peak;
  Progress progress("train", o.max_steps, quiet, first, o.logging_steps);
  int64_t seen = skip(rows, first * o.gradient_accumulation_steps);
  for (int64_t step = first + 1; step <= o.max_steps; ++step) {
    StepLog line;
    try {
      line = train_step(step, rows, model, optimiser, o, device, bad_rows);
    } catch (const Error& error) {  // a picture that cannot be read, no memory: what was learned is kept
      try {
        const bool sound = error.code != Exit::failed;  // not a loss that is no number
        if (sound && result.steps > 0 && optimiser.steps() == step - 1) save(step - 1);
      } catch (...) {  // the first error is the one to tell
      }
      throw;
    }
    seen += line.pairs + line.skipped;
    line.epoch = double(seen) / double(rows.count());
    log.add(line);
    ++result.steps;
    result.pairs += line.pairs;
    result.peak_bytes = std::max(result.peak_bytes, line.peak_bytes);
    result.pairs_per_second = double(result.pairs) / progress.seconds();
    char details[160];
    std::snprintf(details, sizeof details, "loss %.4f  acc %.2f  duplicates %.2f  lr %.2e  %.0f pairs/s", line.loss,
                  line.in_batch_accuracy, line.duplicates, line.learning_rate, result.pairs_per_second);
    progress.update(step, details);
    result.interrupted = interrupted() && step < o.max_steps;
    if (result.interrupted || (o.save_strategy == "steps" && o.save_steps > 0 && step % o.save_steps == 0)) save(step);
    if (result.interrupted) break;
  }
  progress.note(model.encoder->flaw_note());
  progress.note(bad_rows.note());
  progress.note(
      sentence("train: most memory in tensors ", in_bytes(result.peak_bytes), ", predicted ", in_bytes(plan.peak)));
  if (result.interrupted) return result;
  save_finished(run, o.max_steps, model, log.trainer_state());
  return result;
}

}  // namespace vlm2vec
