// Training checkpoints: output_dir/checkpoint-N with the model or adapter as Hugging Face writes it, the optimiser's
// moments (and f32 masters of bf16 weights), the step and trainer_state.json. A run that goes on from one is
// bit-identical to one that was never interrupted. Those of --save_minutes are all called checkpoint-latest, each in
// the place of the one before.
#pragma once
#include <filesystem>
#include <optional>

#include "mmeb/training/train_options.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "vlm/encoder.h"

namespace vlm2vec {

// What is trained: the whole model, or adapters on it.
struct TrainedModel {
  std::unique_ptr<Encoder> encoder;
  std::optional<AttachedLora> lora;
  std::string base_model;
  Spelling adapter_names = Spelling::hub;
  bool bf16_storage = false;  // of trained weights: the whole model is trained with --precision bf16
  bool has_dropout() const { return lora && lora->config.dropout > 0; }
};

// Weights, configuration and tokenizer, or the PEFT folder and the processor, into an existing folder. Weights are
// saved in f32, or after training in bf16 (bf16_storage) in bf16 where that loses nothing: all that were trained, and
// frozen ones if they fit.
void save_model(const TrainedModel& model, const std::filesystem::path& folder);

// Whose run it is: what a run that goes on must have again.
struct RunIdentity {
  TrainOptions options;         // as given, but for the default of --sampling
  uint64_t rows = 0;            // TrainingRows::fingerprint()
  std::string base_model = {};  // SHA-256 of the folder model_name (ModelHash); empty: it is gone, and not needed
  std::vector<std::string> missing_sets = {};  // that --missing_sets skip left out
};

// checkpoint-N. What it makes superfluous goes: a checkpoint-latest of an earlier step, and with save_total_limit all
// but the latest checkpoints up to this step.
void save_checkpoint(const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                     const std::string& trainer_state);
// checkpoint-latest: at every moment the old one or the new one is there, whole.
void save_latest_checkpoint(const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                            const std::string& trainer_state);

// After the last step: the model, trainer_state.json, and training_state.json, which says that the run is finished;
// then checkpoint-latest goes.
void save_finished(const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                   const std::string& trainer_state);

// Where a run begins: at the checkpoint that `resume_from` (auto, none or a step) means; with auto at the latest, or at
// the end of a finished run, which then is output_dir itself. Without one the folder is free for a new run, or with
// --overwrite_output_dir to be cleared for it. Exit::usage if there is something to overwrite or a named step is not
// there.
struct FoundCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
  bool finished = false;
};
std::optional<FoundCheckpoint> find_checkpoint(const TrainOptions& options);
std::string kept_checkpoint(const std::filesystem::path& output_dir);  // "OUT/checkpoint-40"; empty: there is none
// Bytes of the files in output_dir that a run with these options will replace or remove.
int64_t replaceable_bytes(const TrainOptions& options);
// Exit::usage if it was written by a run with other options, Exit::data with other rows or another base model.
void require_same_run(const FoundCheckpoint& checkpoint, const RunIdentity& run);
// When nothing can be refused any more and log.jsonl and skipped_rows.jsonl are those of this run, from step `first`
// on: output_dir holds a run that is not finished, without a checkpoint-latest of later steps. Unless it goes on from a
// checkpoint, --overwrite_output_dir removes all else that an earlier run has written, and its report.
void begin_run(const RunIdentity& run, int64_t first);
void restore_optimiser(const FoundCheckpoint& checkpoint, AdamW& optimiser, TrainedParameters& parameters);

}  // namespace vlm2vec
