// What a shell prints.
#pragma once
#include <cstdio>
#include <string>

namespace vlm2vec {

// What a command prints, and its errors where it sends them to 2>&1 itself; the exit status goes to `code`.
inline std::string output_of(const std::string& command, int* code = nullptr) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char part[4096];
  while (const size_t n = fread(part, 1, sizeof part, pipe)) text.append(part, n);
  const int status = pclose(pipe);
  if (code) *code = status;
  return text;
}

}  // namespace vlm2vec
