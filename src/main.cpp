// vlm2vec: trains vision-language models into embedding models. Runs one command. Every error becomes one sentence on
// stderr and an exit code: 1 failed, 2 wrong usage, 3 bad data, 4 out of memory or disk, 5 missing device.
#include <malloc.h>

#include <csignal>
#include <iostream>

#include "cli/commands.h"
#include "io/current_error.h"
#include "io/shell_word.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"

namespace {

int report(vlm2vec::Exit code, const std::string& sentence) {
  std::cerr << "vlm2vec: " << sentence << '\n';
  return int(code);
}

}  // namespace

int main(int argc, char** argv) {
  using vlm2vec::Exit;
  try {
    // Freed large buffers, such as decoded photographs, go back to the system.
    mallopt(M_MMAP_THRESHOLD, 1 << 20), mallopt(M_TRIM_THRESHOLD, 4 << 20);
    std::signal(SIGXFSZ, SIG_IGN);  // exceeding ulimit -f makes the write fail
    if (argc > 0 && *argv[0]) vlm2vec::program_name = argv[0];
    vlm2vec::flush_denormals();  // denormals change nothing and cost hundreds of cycles each
    vlm2vec::simd();             // throws for a wrong VLM2VEC_ISA before any work
    const Exit code = vlm2vec::run_command({argv + std::min(argc, 1), argv + argc});
    std::cout.flush();
    return std::cout ? int(code) : report(Exit::resources, "standard output cannot be written; is the disk full?");
  } catch (...) {
    const vlm2vec::Error error = vlm2vec::current_error();
    return report(error.code, error.what());
  }
}
