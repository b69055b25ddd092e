// Training checkpoints: output_dir/checkpoint-N with the model or adapter as Hugging Face writes it, the optimiser's
// moments (and f32 masters of bf16 weights), the step and trainer_state.json. A run that goes on from one is
// bit-identical to one that was never interrupted.
#pragma once
#include <filesystem>
#include <optional>

#include "mmeb/options.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "vlm/encoder.h"

namespace vlm2vec {

// What is trained: the whole model, or adapters on it.
struct TrainedModel {
  std::unique_ptr<Encoder> encoder;
  std::optional<AttachedLora> lora;
  std::string base_model;
  bool bf16_storage = false;  // of trained weights: the whole model is trained with --precision bf16
  bool has_dropout() const { return lora && lora->config.dropout > 0; }
};

// Weights, configuration and tokenizer, or the PEFT folder, into an existing folder. Weights are saved in f32, or after
// training in bf16 (bf16_storage) in bf16 where that loses nothing: all that were trained, and frozen ones if they fit.
void save_model(const TrainedModel& model, const std::filesystem::path& folder);

// options: as given, what a run that goes on must be given again. Then, with save_total_limit N, all but the latest N
// checkpoints up to this step are removed.
void save_checkpoint(TrainOptions options, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                     const std::string& trainer_state, uint64_t rows_fingerprint);

// The folder that `resume_from` (auto, none or a step) means, if there is one. Exit::data if a named step is not there,
// or if the checkpoint was written by a run with other options.
struct FoundCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
};
std::optional<FoundCheckpoint> find_checkpoint(TrainOptions options, uint64_t rows_fingerprint);
void restore_optimiser(const FoundCheckpoint& checkpoint, AdamW& optimiser, TrainedParameters& parameters);

std::string options_as_json(TrainOptions options);

}  // namespace vlm2vec
