// The model that a command's options name, ready to embed.
#pragma once
#include <memory>

#include "nn/peft.h"
#include "vlm/encoder.h"
#include "vlm/model_options.h"

namespace vlm2vec {

AdapterOptions adapter_options(const AdapterArguments& arguments);
EncoderOptions encoder_options(const ModelOptions& options, Device device);  // Exit::usage for values out of range

// With its adapter. The notes about what is not used go to stderr unless quiet.
std::unique_ptr<Encoder> load_model(const ModelOptions& options, Device device, bool quiet);

// What must be said of an adapter even with --quiet, on stderr.
void print_warning(const AttachedLora& lora);

}  // namespace vlm2vec
