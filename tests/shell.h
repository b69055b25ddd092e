// What a shell prints.
#pragma once
#include <cstdio>
#include <string>

namespace vlm2vec {

// Of its errors what the command itself sends to 2>&1; the exit status goes to `code`.
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
