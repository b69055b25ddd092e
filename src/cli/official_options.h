// Options of the official scripts (VLM2Vec V1 and V2) and of Hugging Face's TrainingArguments that this program lacks.
// Each is an alias, accepts values that agree with this program, is refused, or has no meaning here.
#pragma once
#include "cli/command_line.h"
#include "mmeb/evaluation/eval_options.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// Must be called after the command's own options; `line` fills `options`.
void official_options(CommandLine& line, const TrainOptions& options);
void official_options(CommandLine& line, const EvalOptions& options);

}  // namespace vlm2vec
