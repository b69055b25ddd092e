// vlm2vec trace: runs one kernel in the emulator and prints what each of its lines costs a GPU. `make trace` builds it,
// beside the program that it has the name of.
#include <algorithm>
#include <iomanip>
#include <iostream>

#include "io/error.h"
#include "runs.h"

namespace vlm2vec::trace {
namespace {

void print_usage() {
  std::cout << "vlm2vec trace KERNEL [--shape NAME=SIZE,…] [--schedule in_order|reversed|random|priority]\n\n"
               "Runs the kernel in the emulator. Prints per line of its source: sectors of global memory and\n"
               "wavefronts of shared memory beside the fewest possible, products of tensor cores, and races.\n\n"
               "Kernels and the shapes that they have without --shape:\n";
  for (const Traceable& kernel : traceables())
    std::cout << "  " << std::left << std::setw(20) << kernel.name << kernel.shape.text() << '\n';
}

void print_line(const std::string& where, const std::string& what, const Cost& cost) {
  const double ratio = cost.ideal ? double(cost.units) / double(cost.ideal) : 1;
  std::cout << std::left << std::setw(32) << where << std::setw(14) << what << std::right << std::setw(10)
            << cost.requests << std::setw(12) << cost.bytes << std::setw(10) << cost.units << std::setw(10)
            << cost.ideal << std::setw(8) << std::fixed << std::setprecision(2) << ratio << '\n';
}

void print(const Trace& trace) {
  std::cout << std::left << std::setw(32) << "line" << std::setw(14) << "access" << std::right << std::setw(10)
            << "requests" << std::setw(12) << "bytes" << std::setw(10) << "units" << std::setw(10) << "ideal"
            << std::setw(8) << "ratio" << '\n';
  for (const Line& line : trace.lines) print_line(line.where, name_of(line.kind), line.cost);
  for (const Kind kind : {Kind::global_read, Kind::global_write, Kind::shared_read, Kind::shared_write})
    print_line("all", name_of(kind), trace.total(kind));
  std::cout << "units are sectors of 32 bytes of global memory, wavefronts of shared memory\n";
  for (const auto& [line, count] : trace.products) std::cout << line << "  " << count << " products of tensor cores\n";
  for (const auto& [line, count] : trace.outside)
    std::cout << line << "  " << count << " accesses outside of every tensor and shared array\n";
  for (const Clash& race : trace.races)
    std::cout << race.first << "  races with " << race.second << ": " << race.what << ", " << race.accesses
              << " accesses\n";
  std::cout << "races " << trace.races.size() << ", bank conflicts " << trace.conflicts() << ", products "
            << trace.all_products() << ", " << std::setprecision(1) << 100 * trace.well_moved(1.05)
            << " % of the bytes of global memory move in at most 1.05 times the fewest sectors\n";
}

emulator::Schedule schedule_of(const std::string& name) {
  const char* names[] = {"in_order", "reversed", "random", "priority"};
  for (int i = 0; i < 4; ++i)
    if (name == names[i]) return emulator::Schedule(i);
  fail(Exit::usage, "trace --schedule: got \"", name, "\", expected in_order, reversed, random or priority");
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") return print_usage(), 0;
  if (arguments[0] != "trace")
    fail(Exit::usage, "this program knows trace only, not \"", arguments[0], "\"; ./vlm2vec knows the other commands");
  if (arguments.size() == 1 || arguments[1] == "--help" || arguments[1] == "-h") return print_usage(), 0;
  const Traceable& kernel = traceable(arguments[1]);
  Shape shape = kernel.shape;
  for (size_t i = 2; i < arguments.size(); i += 2) {
    if (arguments[i] != "--shape" && arguments[i] != "--schedule")
      fail(Exit::usage, "trace: there is no option \"", arguments[i], "\"; there are --shape and --schedule");
    if (i + 1 == arguments.size()) fail(Exit::usage, "trace ", arguments[i], ": the value is missing");
    if (arguments[i] == "--shape") shape = shape.with(arguments[i + 1]);
    else emulator::schedule = schedule_of(arguments[i + 1]);
  }
  std::cout << kernel.name << ' ' << shape.text() << '\n';
  const Trace trace = trace_of(kernel, shape);
  print(trace);
  return trace.races.empty() && trace.outside.empty() ? 0 : 1;
}

}  // namespace
}  // namespace vlm2vec::trace

int main(int argc, char** argv) {
  try {
    return vlm2vec::trace::run({argv + std::min(argc, 1), argv + argc});
  } catch (const vlm2vec::Error& error) {
    std::cerr << "vlm2vec: " << error.what() << '\n';
    return int(error.code);
  } catch (const std::exception& error) {
    std::cerr << "vlm2vec: " << error.what() << '\n';
    return 1;
  }
}
