#include "mmeb/training/trainer.h"

#include <cstdio>

#include "io/files.h"
#include "kernels/kernels.h"
#include "mmeb/training/memory_plan.h"
#include "mmeb/training/train_options.h"
#include "mmeb/training/trained_model.h"
#include "mmeb/training/training_run.h"
#include "tensor/host_memory.h"
#include "vlm/image/image_cache.h"
#include "vlm/model.h"
#include "vlm/model_hash.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

long long count(const std::vector<Parameter*>& parameters) {
  long long n = 0;
  for (const Parameter* p : parameters) n += numel(p->shape());
  return n;
}

// Shares a cache of pictures, so that the run need not decode those of the plan again.
EncoderOptions with_pictures(EncoderOptions options) {
  options.images = std::make_shared<ImageCache>(kImageCacheBytes);
  return options;
}

AdamWOptions adamw_options(const TrainOptions& o) {
  return {o.adam_beta1, o.adam_beta2, o.adam_epsilon, o.weight_decay};
}

// How the process computes from here on.
void choose_sums(const TrainOptions& o, Device device) {
  const bool on_tensor_cores = device != Device::cpu && o.precision == "bf16";
  if (!o.deterministic && !on_tensor_cores)
    fail(Exit::usage, "train: --deterministic False has no effect with --device ", name_of(device), " and --precision ",
         o.precision, "; it needs --device cuda or emu and --precision bf16");
  deterministic = o.deterministic;
}

TrainingData checked_rows(TrainOptions& o, Device device) {
  check_options(o);
  choose_sums(o, device);
  o.sampling = sampling_of(o);
  TrainingData rows(o);
  if (o.bad_rows == "error") reading_rows(o.bad_rows, [&] { rows.check_pictures(); });
  return rows;
}

}  // namespace

TrainerRun::TrainerRun(TrainOptions o, Device d, bool be_quiet, TrainingData r, TrainedModel m)
    : options(std::move(o)),
      device(d),
      quiet(be_quiet),
      rows(std::move(r)),
      model(std::move(m)),
      parameters(parameters_to_train(model, options), model.bf16_storage),
      optimiser(parameters, adamw_options(options)) {
  model.encoder->backbone->dropout.active = model.has_dropout();
  if (options.learn_temperature)
    model.logit_scale = std::make_unique<LogitScale>(options.temperature, adamw_options(options));
}

std::unique_ptr<TrainerRun> prepare_run(TrainOptions o, Device device, bool quiet) {
  const auto say = [&](const std::string& line) {
    if (!quiet && !line.empty()) std::fprintf(stderr, "%s\n", line.c_str());
  };
  TrainingData rows = checked_rows(o, device);
  std::unique_ptr<FolderLock> lock;
  if (fs::is_directory(o.output_dir)) lock = std::make_unique<FolderLock>(o.output_dir), remove_leftovers(o.output_dir);
  const std::optional<FoundCheckpoint> checkpoint = find_checkpoint(o);
  RunIdentity identity{o, rows.fingerprint(), "", rows.missing_sets(), device};
  std::optional<ModelHash> base;
  const auto hash_base = [&] { base.emplace(o.model_name, ""), identity.base_model = hex(base->digest()); };
  const bool adapters = o.lora || !o.adapter.empty();
  if (checkpoint && (adapters || fs::is_directory(o.model_name)))  // a whole model's checkpoint does not need its base
    hash_base();
  if (checkpoint) say(require_same_run(*checkpoint, identity));
  if (checkpoint && checkpoint->finished) {
    say(sentence("train: ", o.output_dir, " has this run, finished with step ", checkpoint->step, "; nothing to do"));
    return nullptr;
  }
  o.max_steps = rows.steps();
  const EncoderOptions encoder = with_pictures(encoder_options(o, device));
  say(device_note(device));
  say("train: reading the first rows to plan memory");
  const MemoryPlan plan = plan_memory(o, rows, checkpoint, encoder);
  if (!quiet) std::fputs(plan.table().c_str(), stderr);
  say(plan.require(host_memory(), o));
  DiskSpace space = disk_space(o.output_dir);
  if (space.available < INT64_MAX) space.available += replaceable_bytes(o);
  say(plan.disk.require(space, o));
  if (!checkpoint) hash_base();
  std::vector<std::string> notes;
  TrainedModel model = load_trained_model(o, checkpoint, encoder, notes);
  if (base) base->require_unchanged();
  if (!checkpoint && !o.adapter.empty())
    if (const std::string note = other_base_note(o.model_name, o.adapter, identity.base_model); !note.empty())
      std::fprintf(stderr, "%s\n", note.c_str());
  auto run = std::make_unique<TrainerRun>(o, device, quiet, std::move(rows), std::move(model));
  run->identity = identity;
  run->first = checkpoint ? checkpoint->step : 0;
  run->planned_peak_bytes = plan.peak, run->tape_room = plan.tape_room;
  if (checkpoint) restore_optimiser(*checkpoint, run->model, run->optimiser, run->parameters);

  make_folder(o.output_dir);
  if (!lock) {
    lock = std::make_unique<FolderLock>(o.output_dir);
    if (find_checkpoint(o))
      fail(Exit::usage, o.output_dir, ": another process has started a run in this folder meanwhile; start again");
  }
  run->log.emplace(o, run->first, run->rows.epochs());
  run->bad_rows.emplace(o.output_dir, run->first > 0);
  begin_run(identity, run->first);
  run->lock = std::move(lock);
  if (run->model.lora) print_warning(*run->model.lora);
  for (const std::string& note : notes) say(note);
  say(run->rows.note());
  const std::string from = run->first ? sentence(", continuing after step ", run->first) : "";
  say(sentence("train: ", run->rows.summary(), ", ", count(run->parameters.parameters()), " of ",
               count(run->model.encoder->backbone->parameters()), " parameters trained", from));
  return run;
}

MemoryPlan plan_training(TrainOptions o, Device device) {
  const TrainingData rows = checked_rows(o, device);
  o.max_steps = rows.steps();
  return plan_memory(o, rows, {}, with_pictures(encoder_options(o, device)));
}

TrainResult train(TrainOptions o, Device device, bool quiet) {
  const std::unique_ptr<TrainerRun> run = prepare_run(std::move(o), device, quiet);
  return run ? run_steps(*run) : TrainResult{};
}

}  // namespace vlm2vec
