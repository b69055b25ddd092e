// vlm2vec: vision-language models trained into embedding models. Runs one command; every error ends up here as one
// sentence on stderr and an exit code: 1 failed, 2 wrong usage, 3 bad data, 4 out of memory or disk, 5 missing device.
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
    // A large buffer, such as a decoded photograph, goes back to the system when it is freed.
    mallopt(M_MMAP_THRESHOLD, 1 << 20), mallopt(M_TRIM_THRESHOLD, 4 << 20);
    std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write
    if (argc > 0 && *argv[0]) vlm2vec::program_name = argv[0];
    vlm2vec::flush_denormals();  // numbers that small change nothing and cost hundreds of cycles each
    vlm2vec::simd();             // a wrong VLM2VEC_ISA is said before anything is done
    const Exit code = vlm2vec::run_command({argv + std::min(argc, 1), argv + argc});
    std::cout.flush();
    return std::cout ? int(code) : report(Exit::resources, "standard output cannot be written; is the disk full?");
  } catch (...) {
    const vlm2vec::Error error = vlm2vec::current_error();
    return report(error.code, error.what());
  }
}
