// Any exception as the one sentence and exit code that a command ends with.
#pragma once
#include "io/error.h"

namespace vlm2vec {

// A tensor did not fit. Whoever knows the options that need less memory adds them.
struct OutOfMemory : Error {
  explicit OutOfMemory(const std::string& sentence) : Error(Exit::resources, sentence) {}
};

// The exception that is being handled, as an Error; to be called within a catch block.
Error current_error();

}  // namespace vlm2vec
