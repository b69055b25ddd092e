// What a training run is asked for, before anything is read.
#pragma once
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// Exit::usage for values out of range, options that exclude each other and options that would have no effect.
void check_options(const TrainOptions& options);

}  // namespace vlm2vec
