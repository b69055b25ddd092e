// Turns any exception into the one sentence and exit code that a command ends with.
#pragma once
#include "io/error.h"

namespace vlm2vec {

// A tensor did not fit into memory. The catcher adds the options that need less.
struct OutOfMemory : Error {
  explicit OutOfMemory(const std::string& sentence) : Error(Exit::resources, sentence) {}
};

// Returns the exception being handled, as an Error. Must be called within a catch block.
Error current_error();

}  // namespace vlm2vec
