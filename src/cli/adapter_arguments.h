// The options of commands that apply an adapter.
#pragma once
#include <string>

#include "cli/command_line.h"
#include "nn/peft.h"

namespace vlm2vec {

struct AdapterArguments {
  std::string folder;
  AdapterOptions how;

  void options(CommandLine& line) {
    line("adapter", folder, "PEFT folder (LoRA or DoRA) to apply");
    line("use_dora", how.use_dora, "False reads a DoRA adapter as LoRA, without its magnitude vectors");
    line("allow_partial_adapter", how.allow_partial, "apply what of the adapter matches layers of the model");
    line("adapter_norms", how.norms, "print the norm of each change s*BA of the adapter");
  }
};

}  // namespace vlm2vec
