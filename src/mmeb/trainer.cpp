#include "mmeb/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mmeb/checkpoint.h"
#include "mmeb/grad_cache.h"
#include "mmeb/interrupt.h"
#include "mmeb/model.h"
#include "mmeb/progress.h"
#include "mmeb/training_batch.h"
#include "nn/optim.h"
#include "nn/peft.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

void check_options(const TrainOptions& o) {
  const auto usage = [](bool ok, const auto&... parts) {
    if (!ok) fail(Exit::usage, parts...);
  };
  check_row_options(o);
  usage(o.per_device_train_batch_size > 0, "train: --per_device_train_batch_size ", o.per_device_train_batch_size,
        ", expected 1 or more");
  usage(o.max_steps > 0, "train: --max_steps ", o.max_steps, ", expected 1 or more");
  usage(o.temperature > 0, "train: --temperature ", o.temperature, ", expected a positive number");
  usage(o.gc_q_chunk_size >= 0 && o.gc_p_chunk_size >= 0 && o.save_steps >= 0 && o.warmup_steps >= 0,
        "train: chunk sizes, --save_steps and --warmup_steps cannot be negative");
  usage(0 <= o.warmup_ratio && o.warmup_ratio <= 1, "train: --warmup_ratio ", o.warmup_ratio, ", expected 0 to 1");
  usage(0 <= o.lora_dropout && o.lora_dropout < 1 && o.lora_r > 0,
        "train: expected --lora_dropout from 0 to below 1 and a positive --lora_r");
  usage(o.learning_rate >= 0 && o.weight_decay >= 0 && o.max_grad_norm >= 0,
        "train: --learning_rate, --weight_decay and --max_grad_norm cannot be negative");
  usage(0 <= o.adam_beta1 && o.adam_beta1 < 1 && 0 <= o.adam_beta2 && o.adam_beta2 < 1 && o.adam_epsilon > 0,
        "train: expected --adam_beta1 and --adam_beta2 from 0 to below 1 and a positive --adam_epsilon");
  std::error_code ignored;
  usage(!fs::equivalent(o.model_name, o.output_dir, ignored), "train: --output_dir is the folder of the model itself, ",
        o.model_name, "; choose another");
  const bool adapters = o.lora || !o.adapter.empty();
  const fs::path other = fs::path(o.output_dir) / (adapters ? "model.safetensors" : "adapter_model.safetensors");
  usage(!fs::exists(other), "train: ", other.string(), " is there, so --output_dir holds the ",
        adapters ? "full model" : "adapter", " of another run; choose another");
  const TrainOptions standard;
  const bool shaped = o.lora_r != standard.lora_r || o.lora_alpha != standard.lora_alpha ||
                      o.lora_dropout != standard.lora_dropout || o.lora_target_modules != standard.lora_target_modules;
  usage(adapters || !(shaped || o.use_dora != standard.use_dora),
        "train: --lora_r, --lora_alpha, --lora_dropout, --lora_target_modules and --use_dora mean nothing without "
        "--lora True");
  usage(o.adapter.empty() || !shaped,
        "train: --lora_r, --lora_alpha, --lora_dropout and --lora_target_modules are those of the --adapter's folder");
  usage(o.batches.empty() || o.per_device_train_batch_size == standard.per_device_train_batch_size,
        "train: --per_device_train_batch_size means nothing beside --batches, which names each batch's rows");
  usage(!o.adapter.empty() || (!o.allow_partial_adapter && !o.adapter_norms),
        "train: --allow_partial_adapter and --adapter_norms mean nothing without --adapter");
  parse_schedule(o.lr_scheduler_type);
}

TrainedModel load_model(TrainOptions& o, const std::optional<FoundCheckpoint>& checkpoint, Device device,
                        std::vector<std::string>& notes) {
  const bool adapters = o.lora || !o.adapter.empty();
  TrainedModel model{
      load_encoder(checkpoint && !adapters ? checkpoint->folder : fs::path(o.model_name), encoder_options(o, device)),
      {},
      o.model_name};
  Encoder& encoder = *model.encoder;
  encoder.set_gradient_checkpointing(o.gradient_checkpointing);
  notes = encoder.notes;
  if (!adapters) return model;
  const fs::path folder = checkpoint ? checkpoint->folder : fs::path(o.adapter);
  if (!folder.empty()) {
    model.lora = load_adapter(encoder, folder, adapter_options(o), &encoder.dropout, notes);
    const LoraConfig& own = model.lora->config;  // the folder's configuration holds, and the record says so
    o.lora_r = own.rank, o.lora_alpha = own.alpha, o.lora_dropout = own.dropout,
    o.lora_target_modules = own.target_pattern.empty() ? own.target_modules : std::vector{own.target_pattern},
    o.use_dora = own.use_dora;
  } else {
    model.lora = attach_lora(encoder, {int(o.lora_r), o.lora_alpha, o.lora_dropout, o.lora_target_modules, o.use_dora},
                             &encoder.dropout);
    model.lora->initialise(o.seed);
    if (const std::string note = model.lora->unmatched_note(); !note.empty()) notes.push_back(note);
  }
  return model;
}

long long count(const std::vector<Parameter*>& parameters) {
  long long n = 0;
  for (const Parameter* p : parameters) n += numel(p->shape());
  return n;
}

// The lines of the steps that a checkpoint has; what came after it is forgotten.
std::string keep_log(const fs::path& file, int64_t steps) {
  if (steps == 0) return "";
  const std::string text = read_text(file);
  size_t end = 0;
  for (int64_t i = 0; i < steps; ++i) {
    end = text.find('\n', end);
    if (end == std::string::npos)
      fail(Exit::data, file.string(), ": has ", i, " steps, the checkpoint ", steps, "; does the log belong to it?");
    ++end;
  }
  return text.substr(0, end);
}

std::string to_line(const StepLog& log) {
  return nlohmann::ordered_json{{"step", log.step},
                                {"loss", log.loss},
                                {"grad_norm", log.grad_norm},
                                {"learning_rate", log.learning_rate},
                                {"in_batch_accuracy", log.in_batch_accuracy},
                                {"duplicates", log.duplicates},
                                {"seconds", log.seconds},
                                {"peak_bytes", log.peak_bytes}}
      .dump();
}

// Embeds, differentiates, clips and updates. If it throws, nothing has changed as long as the optimiser has not
// stepped.
StepLog train_step(int64_t step, TrainingRows& rows, const TrainedModel& model, const TrainedParameters& parameters,
                   AdamW& optimiser, const TrainOptions& o, Device device) {
  const auto start = std::chrono::steady_clock::now();
  reset_peak_bytes();
  Encoder& encoder = *model.encoder;
  const TrainingBatch batch = make_batch(rows, rows.next(), encoder.image_token(),
                                         {o.num_hardneg, o.mask_duplicates, mix(o.seed, uint64_t(step))}, device);
  encoder.dropout.active = model.lora && model.lora->config.dropout > 0;
  encoder.dropout.seed = mix(o.seed, uint64_t(step));
  parameters.clear_gradients();
  const ContrastiveOptions contrastive{o.temperature, o.gc_q_chunk_size, o.gc_p_chunk_size, batch.matching};
  const ContrastiveResult result = contrastive_step(encoder, batch.queries, batch.targets, contrastive);
  contrastive.comm.all_reduce(parameters.gradients());
  const GradientNorm gradient = clip_gradients(parameters.gradients(), o.max_grad_norm);
  if (!std::isfinite(result.loss) || !std::isfinite(gradient.norm))
    fail(Exit::failed, "train: step ", step, ": the loss is ", result.loss, " and the gradient norm ", gradient.norm,
         "; lower --learning_rate or raise --temperature");

  const int64_t warmup = o.warmup_steps > 0 ? o.warmup_steps : int64_t(std::ceil(o.warmup_ratio * double(o.max_steps)));
  StepLog log;
  log.step = step, log.pairs = int64_t(batch.queries.size()), log.loss = result.loss, log.grad_norm = gradient.norm;
  log.learning_rate =
      o.learning_rate * Schedule{parse_schedule(o.lr_scheduler_type), warmup, o.max_steps}.factor(step - 1);
  optimiser.step(log.learning_rate, gradient.scale);
  if (model.lora) model.lora->update();
  log.in_batch_accuracy = batch.accuracy(result.best), log.duplicates = batch.duplicates;
  log.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  log.peak_bytes = memory_statistics().peak_bytes;
  return log;
}

}  // namespace

TrainResult train(TrainOptions o, Device device, bool quiet) {
  check_options(o);
  o.sampling = sampling_of(o);
  const TrainOptions given = o;  // what a resumed run must be given again
  TrainingRows rows(o);
  rows.check_pictures();
  const std::optional<FoundCheckpoint> checkpoint = find_checkpoint(o, rows.fingerprint());
  const int64_t first = checkpoint ? checkpoint->step : 0;
  std::vector<std::string> notes;
  const TrainedModel model = load_model(o, checkpoint, device, notes);
  const TrainedParameters parameters(model.lora ? model.lora->parameters() : model.encoder->parameters());
  AdamW optimiser(parameters, {o.adam_beta1, o.adam_beta2, o.adam_epsilon, o.weight_decay});
  if (checkpoint) restore_optimiser(*checkpoint, optimiser);

  fs::create_directories(o.output_dir);
  const fs::path log_file = fs::path(o.output_dir) / "log.jsonl";
  write_text(log_file, keep_log(log_file, first));
  write_text(fs::path(o.output_dir) / "training_options.json", options_as_json(o));
  std::ofstream log_stream(log_file, std::ios::app);
  if (!quiet) {
    for (const std::string& note : notes) std::fprintf(stderr, "%s\n", note.c_str());
    if (const std::string note = rows.note(); !note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
    const std::string from = first ? sentence(", going on after step ", first) : "";
    std::fprintf(stderr, "train: %s, %lld of %lld parameters trained%s\n", rows.summary().c_str(),
                 count(parameters.parameters()), count(model.encoder->parameters()), from.c_str());
  }

  const auto save = [&](int64_t step) {
    save_checkpoint(o.output_dir, step, model, optimiser, given, rows.fingerprint());
  };
  const InterruptGuard guard;
  TrainResult result;
  Progress progress("train", o.max_steps, quiet, first);
  for (int64_t skipped = 0; skipped < first; ++skipped) rows.next();
  for (int64_t step = first + 1; step <= o.max_steps; ++step) {
    StepLog log;
    try {
      log = train_step(step, rows, model, parameters, optimiser, o, device);
    } catch (...) {  // a picture that cannot be read, no memory, a loss that is no number: what was learned is kept
      try {
        if (result.steps > 0 && optimiser.steps() == step - 1) save(step - 1);
      } catch (...) {  // the first error is the one to tell
      }
      throw;
    }
    log_stream << to_line(log) << std::endl;
    if (!log_stream) fail(Exit::resources, log_file.string(), ": writing failed; is the disk full?");
    ++result.steps;
    result.pairs += log.pairs;
    result.pairs_per_second = double(result.pairs) / progress.seconds();
    char details[160];
    std::snprintf(details, sizeof details, "loss %.4f  acc %.2f  duplicates %.2f  lr %.2e  %.0f pairs/s", log.loss,
                  log.in_batch_accuracy, log.duplicates, log.learning_rate, result.pairs_per_second);
    progress.update(step, details);
    result.interrupted = interrupted() && step < o.max_steps;
    if (result.interrupted || (o.save_steps > 0 && step % o.save_steps == 0)) save(step);
    if (result.interrupted) break;
  }
  progress.note(model.encoder->flaw_note());
  if (!result.interrupted) save_model(model, o.output_dir);
  return result;
}

}  // namespace vlm2vec
