#include "places.h"

#include <unistd.h>

#include <cstdio>
#include <sstream>

#include "io/error.h"

namespace vlm2vec::trace {
namespace {

// "…/kernels/norm.cu:21 (discriminator 3)" -> "norm.cu:21"
std::string short_line(const std::string& line) {
  const std::string without = line.substr(0, line.find(' '));
  return without.substr(without.rfind('/') + 1);
}

// A line of a kernel, not of the standard library or of cuda.h: of calls that became one, the innermost such counts.
bool is_of_a_kernel(const std::string& line) {
  return (line.find("/kernels/") != std::string::npos || line.find("/tests/trace/") != std::string::npos) &&
         line.find("/kernels/cuda.h") == std::string::npos;
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  pclose(pipe);
  return text;
}

}  // namespace

Place Places::of(const void* return_address) {
  const auto address = reinterpret_cast<uintptr_t>(return_address);
  const auto [found, is_new] = by_address_.try_emplace(address, Place(lines_.size()));
  if (is_new) lines_.emplace_back(), order_.push_back(address - 1);  // within the call
  return found->second;
}

Place Places::of(const emulator::Site& site) {
  const auto [found, is_new] = by_site_.try_emplace({site.file_name(), site.line()}, Place(lines_.size()));
  if (is_new) lines_.push_back(short_line(sentence(site.file_name(), ":", site.line()))), order_.push_back(UINTPTR_MAX);
  return found->second;
}

const std::string& Places::line(Place place) {
  if (lines_[place].empty()) look_up();
  return lines_[place];
}

// addr2line prints the address, then a function and a line for each call of the chain.
void Places::look_up() {
  std::ostringstream command;
  command << "addr2line -aife /proc/" << getpid() << "/exe" << std::hex;
  std::vector<Place> asked;
  for (Place place = 0; place < lines_.size(); ++place)
    if (lines_[place].empty()) asked.push_back(place), command << " 0x" << order_[place];
  std::istringstream lines(output_of(command.str() + " 2>/dev/null"));
  size_t next = 0;
  std::string innermost;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0x")) {
      if (next > 0 && lines_[asked[next - 1]].empty()) lines_[asked[next - 1]] = innermost;
      ++next, innermost.clear();
    } else if (std::getline(lines, line) && next > 0 && next <= asked.size()) {
      if (innermost.empty()) innermost = short_line(line);
      if (lines_[asked[next - 1]].empty() && is_of_a_kernel(line)) lines_[asked[next - 1]] = short_line(line);
    }
  }
  for (Place place : asked)
    if (lines_[place].empty()) lines_[place] = innermost.empty() ? sentence("address ", order_[place]) : innermost;
}

}  // namespace vlm2vec::trace
