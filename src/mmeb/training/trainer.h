// Contrastive training: sampler, contrastive step, clipping, AdamW, log, checkpoints and exact resumption.
#pragma once
#include <cstdint>

#include "mmeb/training/memory_plan.h"
#include "tensor/storage.h"
#include "vlm/encoder.h"

namespace vlm2vec {

struct TrainResult {
  int64_t steps = 0, pairs = 0;  // done by this process
  bool interrupted = false;      // Ctrl-C, SIGTERM or SIGHUP ended the run with a checkpoint
  double pairs_per_second = 0;
  int64_t peak_bytes = 0, planned_peak_bytes = 0;  // in tensors
  int64_t held_bytes = 0;                          // peak that the process held for tensors
  int64_t card_bytes = 0;                          // of it on a GPU
};

// Returns the memory and disk space that train() would need, without training or writing.
MemoryPlan plan_training(TrainOptions options, Device device);

// Trains as `options` say and writes output_dir: the model (or adapter), log.jsonl, trainer_state.json,
// training_options.json and checkpoints. A signal ends the run after the present step, with a checkpoint. Throws an
// Error that names the kept step if the run ends early.
TrainResult train(TrainOptions options, Device device, bool quiet);

}  // namespace vlm2vec
