// Contrastive training: sampler, contrastive step, clipping, AdamW; with a log, checkpoints and exact resumption.
#pragma once
#include <cstdint>

#include "mmeb/training/memory_plan.h"
#include "tensor/storage.h"
#include "vlm/encoder.h"

namespace vlm2vec {

struct TrainResult {
  int64_t steps = 0, pairs = 0;  // done in this run
  bool interrupted = false;      // by Ctrl-C, SIGTERM or SIGHUP: a checkpoint is saved
  double pairs_per_second = 0;
  int64_t peak_bytes = 0, planned_peak_bytes = 0;  // in tensors
  int64_t held_bytes = 0;                          // most that the process held for them
};

// What train() would take; nothing is trained or written.
MemoryPlan plan_training(TrainOptions options, Device device);

// Trains as `options` say and writes output_dir: the model (or adapter), log.jsonl, trainer_state.json,
// training_options.json and checkpoints. A signal to stop is obeyed after the step it comes in, with a checkpoint. What
// ends a run early is an Error that says which step is kept.
TrainResult train(TrainOptions options, Device device, bool quiet);

}  // namespace vlm2vec
