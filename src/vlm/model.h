// The model that a command's options name, ready to embed.
#pragma once
#include <memory>

#include "nn/peft.h"
#include "vlm/encoder.h"
#include "vlm/model_options.h"

namespace vlm2vec {

AdapterOptions adapter_options(const AdapterArguments& arguments);
EncoderOptions encoder_options(const ModelOptions& options, Device device);  // throws Exit::usage

// Loads the model with its adapter. Notes about unused parts go to stderr unless quiet.
std::unique_ptr<Encoder> load_model(const ModelOptions& options, Device device, bool quiet);

// Prints the adapter's warning on stderr, even with --quiet.
void print_warning(const AttachedLora& lora);

}  // namespace vlm2vec
