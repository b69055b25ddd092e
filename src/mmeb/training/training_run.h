// A training run in its halves: prepare_run() checks, plans and loads; run_steps() trains, logs and saves.
#pragma once
#include <functional>
#include <memory>

#include "io/folder_lock.h"
#include "mmeb/training/bad_rows.h"
#include "mmeb/training/checkpoint.h"
#include "mmeb/training/trainer.h"
#include "mmeb/training/training_log.h"
#include "mmeb/training/training_rows.h"

namespace vlm2vec {

struct TrainerRun {
  TrainerRun(TrainOptions options, Device device, bool quiet, TrainingRows rows, TrainedModel model);

  TrainOptions options;  // max_steps: of the whole run; of an adapter those of its folder
  Device device;
  bool quiet;
  TrainingRows rows;
  TrainedModel model;
  TrainedParameters parameters;  // of the model
  AdamW optimiser;               // of the parameters
  RunIdentity identity;
  int64_t first = 0;  // steps of the checkpoint that the run goes on from
  int64_t planned_peak_bytes = 0;
  std::unique_ptr<FolderLock> lock;
  std::optional<TrainingLog> log;
  std::optional<BadRows> bad_rows;
  CutTexts cut = {};         // of all steps
  int64_t unusable = 0;      // rows that --bad_rows skip has left out since the last pair
  int64_t single_pairs = 0;  // batches of which it has left one pair: no wrong answer, no gradient
};

// Nothing is returned if the run is finished already.
std::unique_ptr<TrainerRun> prepare_run(TrainOptions options, Device device, bool quiet);

// Embeds, differentiates, clips and updates, with the mean gradient of the batches that have a pair. If it throws
// before the optimiser steps, no weight has changed.
StepLog train_step(TrainerRun& run, int64_t step);

// If a step throws before the optimiser moves, the state before it is saved, if it is finite and not saved yet. The
// error then names the checkpoint to go on from.
TrainResult run_steps(TrainerRun& run,
                      const std::function<StepLog(TrainerRun& run, int64_t step)>& take_step = train_step);

}  // namespace vlm2vec
