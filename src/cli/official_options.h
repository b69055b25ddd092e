// The options of the official scripts (VLM2Vec V1 and V2) and of Hugging Face's TrainingArguments that are no options
// of ours: each is another name of one, or agrees with what happens here anyway, or is refused, or has no meaning here.
#pragma once
#include "cli/command_line.h"
#include "mmeb/evaluation/eval_options.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// After the command's own options; `options` are those that `line` fills.
void official_options(CommandLine& line, const TrainOptions& options);
void official_options(CommandLine& line, const EvalOptions& options);

}  // namespace vlm2vec
