// Contrastive training: sampler → contrastive step → clipping → AdamW, with a log, checkpoints and exact resumption.
#pragma once
#include <cstdint>

#include "mmeb/training/memory_plan.h"
#include "tensor/storage.h"
#include "vlm/encoder.h"

namespace vlm2vec {

// One line of log.jsonl.
struct StepLog {
  int64_t step = 0;  // from 1
  double epoch = 0;  // pairs so far / rows
  int64_t pairs = 0;
  double loss = 0, grad_norm = 0;  // the norm before clipping
  double learning_rate = 0, in_batch_accuracy = 0, seconds = 0;
  int64_t skipped = 0;                 // pairs left out by --bad_rows skip
  int64_t tokens_without_picture = 0;  // sides with an image token and no picture, which is read as a word
  int64_t cut_texts = 0;               // sides whose text is cut at --max_len
  double duplicates = 0;               // share of queries whose target is in the batch again: false negatives
  // Of `seconds`: drawing rows; GradCache (grad_cache.h); clipping and AdamW.
  double data_seconds = 0, embed_seconds = 0, loss_seconds = 0, backward_seconds = 0, optimiser_seconds = 0;
  int64_t peak_bytes = 0;  // most bytes in tensors during the step
};

struct TrainResult {
  int64_t steps = 0, pairs = 0;  // done in this run
  bool interrupted = false;      // by Ctrl-C or SIGTERM: a checkpoint is saved
  double pairs_per_second = 0;
  CutTexts cut = {};                               // of all steps
  int64_t peak_bytes = 0, planned_peak_bytes = 0;  // in tensors
  int64_t held_bytes = 0;                          // most that the process held for them
};

// What train() would take; nothing is trained or written.
MemoryPlan plan_training(TrainOptions options, Device device);

// Trains as `options` say and writes output_dir: the model (or adapter), log.jsonl, trainer_state.json,
// training_options.json and checkpoints. A signal to stop is obeyed after the step it comes in, with a checkpoint.
TrainResult train(TrainOptions options, Device device, bool quiet);

}  // namespace vlm2vec
