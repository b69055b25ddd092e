// What is trained: a whole model, or adapters on it, without the parameters that are frozen.
#pragma once
#include "mmeb/training/checkpoint.h"

namespace vlm2vec {

// As `options` say, from the checkpoint if there is one. The configuration of an adapter's folder goes into `options`.
// notes: what the user should know of what was loaded.
TrainedModel load_trained_model(TrainOptions& options, const std::optional<FoundCheckpoint>& checkpoint,
                                const EncoderOptions& encoder_options, std::vector<std::string>& notes);

// All of the model, or of its adapters, but what --freeze and --image_encoder_freeze name. Exit::usage for a name that
// no parameter begins with, and if nothing is left.
std::vector<Parameter*> parameters_to_train(const TrainedModel& model, const TrainOptions& options);

}  // namespace vlm2vec
