// Loads the model to train, as a whole or with adapters, and finds the parameters that are not frozen.
#pragma once
#include "mmeb/training/checkpoint.h"

namespace vlm2vec {

// Loads the model of `options`, from the checkpoint if there is one. Copies the configuration of an adapter's folder
// into `options`. `notes` gets sentences for the user.
TrainedModel load_trained_model(TrainOptions& options, const std::optional<FoundCheckpoint>& checkpoint,
                                const EncoderOptions& encoder_options, std::vector<std::string>& notes);

// Returns all parameters of the model or its adapters, except those named by --freeze and --image_encoder_freeze.
// Throws Exit::usage if no parameter begins with a name, or if none is left.
std::vector<Parameter*> parameters_to_train(const TrainedModel& model, const TrainOptions& options);

}  // namespace vlm2vec
