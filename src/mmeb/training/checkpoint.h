// Training checkpoints: output_dir/checkpoint-N with the model or adapter in Hugging Face's format, the optimiser's
// moments (and f32 masters of bf16 weights), the step and trainer_state.json. A resumed run gives the same bits as an
// uninterrupted one. Each checkpoint of --save_minutes is called checkpoint-latest and replaces the one before.
#pragma once
#include <filesystem>
#include <optional>

#include "mmeb/training/logit_scale.h"
#include "mmeb/training/train_options.h"
#include "nn/adapters.h"
#include "vlm/encoder.h"

namespace vlm2vec {

// The trained model: trained as a whole, or through adapters.
struct TrainedModel {
  std::unique_ptr<Encoder> encoder;
  std::optional<AttachedLora> lora;
  std::string base_model;
  Spelling adapter_names = Spelling::hub;
  bool bf16_storage = false;  // trained weights are stored in bf16: full training with --precision bf16
  std::unique_ptr<LogitScale> logit_scale = {};  // with --learn_temperature
  bool has_dropout() const { return lora && lora->config.dropout > 0; }
};

// Saves weights, configuration and tokenizer, or the PEFT folder and the processor, into an existing folder. Weights
// are f32. With bf16_storage, trained weights are bf16, and so are frozen weights that bf16 holds exactly.
void save_model(const TrainedModel& model, const std::filesystem::path& folder);

// What a resumed run must share with the run that wrote its checkpoint.
struct RunIdentity {
  TrainOptions options;         // as given, with the default of --sampling filled in
  uint64_t rows = 0;            // TrainingData::fingerprint()
  std::string base_model = {};  // SHA-256 of the folder model_name (ModelHash); empty: it is gone and not needed
  std::vector<std::string> missing_sets = {};  // left out by --missing_sets skip
  Device device = Device::cpu;
};

// checkpoint: checkpoint-N. Removes a checkpoint-latest of an earlier step and, with save_total_limit, all but the
//             latest checkpoints up to this step
// latest:     checkpoint-latest; at every moment the old or the new one is there, complete
// finished:   the model, trainer_state.json, and training_state.json, which marks the run as finished. Then removes
//             checkpoint-latest
enum class Save { checkpoint, latest, finished };
void save_run(Save what, const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
              const std::string& trainer_state);

// The checkpoint that `resume_from` (auto, none or a step) names. auto means the latest one, or a finished run, whose
// folder is output_dir itself. Without a checkpoint the folder is free for a new run, or --overwrite_output_dir will
// clear it. Throws Exit::usage if a run would be overwritten, or if there is no checkpoint of the step.
struct FoundCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
  bool finished = false;
};
std::optional<FoundCheckpoint> find_checkpoint(const TrainOptions& options);
std::string kept_checkpoint(const std::filesystem::path& output_dir);  // "OUT/checkpoint-40"; empty if there is none
// Returns the bytes of the files in output_dir that a run with these options will replace or remove.
int64_t replaceable_bytes(const TrainOptions& options);
// Throws Exit::usage if another run's options wrote the checkpoint, Exit::data for other rows or another base model.
// Returns a sentence for the user if another device did, else "".
std::string require_same_run(const FoundCheckpoint& checkpoint, const RunIdentity& run);
// Marks output_dir as an unfinished run from step `first` on, and removes a checkpoint-latest of later steps. Must be
// called after all checks, when log.jsonl and skipped_rows.jsonl are this run's. For a new run, --overwrite_output_dir
// removes all other files of an earlier run, and its report.
void begin_run(const RunIdentity& run, int64_t first);
// Restores the model's logit_scale, too, if it has one.
void restore_optimiser(const FoundCheckpoint& checkpoint, TrainedModel& model, AdamW& optimiser,
                       TrainedParameters& parameters);

}  // namespace vlm2vec
