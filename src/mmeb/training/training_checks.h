// Checks the options of a training run before any file is read.
#pragma once
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// Throws Exit::usage for values out of range, options that exclude each other and options without effect.
void check_options(const TrainOptions& options);

}  // namespace vlm2vec
