// The two halves of a training run: prepare_run() checks, plans and loads; run_steps() trains, logs and saves.
#pragma once
#include <functional>
#include <memory>

#include "io/folder_lock.h"
#include "mmeb/training/bad_rows.h"
#include "mmeb/training/checkpoint.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/trainer.h"
#include "mmeb/training/training_batch.h"
#include "mmeb/training/training_data.h"
#include "mmeb/training/training_log.h"
#include "tensor/comm.h"

namespace vlm2vec {

// A batch of a step, and the beginning of what its model reads.
struct ReadBatch {
  int64_t rows = 0;  // drawn, with those left out
  TrainingBatch batch;
  FirstChunks first;
};

struct TrainerRun {
  TrainerRun(TrainOptions options, Device device, bool quiet, TrainingData rows, TrainedModel model);

  TrainOptions options;  // max_steps is the whole run's; an adapter's options come from its folder
  Device device;
  bool quiet;
  TrainingData rows;
  TrainedModel model;
  TrainedParameters parameters;
  Comm comm = {};  // gathers embeddings and sums gradients
  AdamW optimiser;
  RunIdentity identity;
  int64_t first = 0;  // steps of the checkpoint that the run continues
  int64_t planned_peak_bytes = 0, tape_room = 0;  // of the plan
  std::unique_ptr<FolderLock> lock;
  std::optional<TrainingLog> log;
  std::optional<BadRows> bad_rows;
  CutTexts cut = {};         // over all steps
  int64_t unusable = 0;      // rows left out by --bad_rows skip since the last pair
  int64_t single_pairs = 0;  // batches with only one pair left: no wrong answer, no gradient
  Ahead<ReadBatch> next;      // read while the model computes the one before; refers to the fields above
  // A checkpoint that a thread writes while the model computes the next step. It reads the weights where they lie, so
  // it must be ready before they change.
  Ahead<void> saving;
};

// What a contrastive step takes from the options; the run adds the rest.
ContrastiveOptions contrastive_options(const TrainOptions& options, const Matching& matching);

// Waits until the checkpoint under way, if any, is on the disk. Throws the error of its writer.
void finish_saving(TrainerRun& run);

// Returns null if the run is already finished.
std::unique_ptr<TrainerRun> prepare_run(TrainOptions options, Device device, bool quiet);

// Embeds, differentiates, clips and updates, with the mean gradient of all batches with pairs. If it throws before the
// optimiser's step, no weight has changed.
StepLog train_step(TrainerRun& run, int64_t step);

// If a step throws before the optimiser's step, saves the state before it, if finite and not yet saved. The error then
// names the checkpoint to continue from.
TrainResult run_steps(TrainerRun& run,
                      const std::function<StepLog(TrainerRun& run, int64_t step)>& take_step = train_step);

}  // namespace vlm2vec
