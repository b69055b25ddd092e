// Kernels at the sizes of training, on a GPU: a table of times, rates and shares of the limit, which is the slower of
// its bytes at the rate of a copy and its flops at that of cuBLAS, both measured in the same run.
//   kernels_bench [--device cuda|emu] [--list] [--beside FILE] [--output FILE]
// --list: only the cases, as JSON lines, for bench/rivals/kernels.py. --beside: what that has measured, for two columns
// more. --output: the same figures as JSON lines. On the emulator sizes are tiny and times say nothing.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/kernel_cases.h"
#include "io/error.h"
#include "io/files.h"
#include "io/json_lines.h"

namespace vlm2vec {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string device = "cuda", beside, output;
  bool list = false;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    std::string* const value = option == "--device"   ? &o.device
                               : option == "--beside" ? &o.beside
                               : option == "--output" ? &o.output
                                                      : nullptr;
    if (option == "--list") o.list = true;
    else if (value && i + 1 < argc) *value = argv[++i];
    else
      fail(Exit::usage, "kernels_bench: ", option,
           ": expected --device cuda or emu, --list, --beside FILE or --output FILE",
           value ? ", each with its value" : "");
  }
  if (o.device != "cuda" && o.device != "emu")
    fail(Exit::usage, "kernels_bench: --device ", o.device, ": expected cuda or emu");
  return o;
}

struct Figures {
  double seconds = 0, memory = 0;  // memory: bytes that the work takes beside its inputs and results
};

double seconds_of(const std::function<void()>& work, Device device) {
  if (device == Device::cuda) return gpu::seconds_of(work);
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The median of several runs. What lies in the L2 cache before each is something else's.
Figures measure(const Work& work, Device device) {
  const bool card = device == Device::cuda;
  const Tensor other({card ? int64_t(256) << 18 : 1}, DType::f32, device);  // 256 MiB
  reset_peak_bytes();
  const int64_t before = memory_statistics().live_bytes;
  work.run();
  const double memory = double(memory_statistics().peak_bytes - before) - work.results;
  std::vector<double> seconds;
  double sum = 0;
  for (size_t runs = card ? 50 : 1; seconds.size() < runs && (sum < 0.5 || seconds.size() < 5);) {
    kernel::fill(other, 0);
    seconds.push_back(seconds_of(work.run, device));
    sum += seconds.back();
  }
  std::ranges::sort(seconds);
  return {seconds[seconds.size() / 2], memory};
}

void print_cases(const std::vector<Case>& cases) {
  for (const Case& c : cases)
    std::printf(
        "%s\n",
        Json{{"case", c.name()}, {"kernel", c.kernel}, {"sizes", c.sizes}, {"lengths", c.lengths}}.dump().c_str());
}

// What the rival measured, by case.
std::map<std::string, Figures> read_figures(const std::string& file) {
  std::map<std::string, Figures> figures;
  if (file.empty()) return figures;
  read_json_lines(file, [&](const Json& line) {
    if (line.contains("seconds")) figures[line.at("case")] = {line.at("seconds"), line.value("memory", 0.0)};
  });
  return figures;
}

std::string shown(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Rates in bytes and flops a second; 0: not known.
struct Limits {
  double bytes = 0, flops = 0;
};

struct Row {
  std::string name;
  double bytes, flops;
  Figures ours;
  std::optional<Figures> rival;

  bool by_flops(const Limits& limits) const {
    return flops > 0 && (limits.flops == 0 || flops / limits.flops > bytes / limits.bytes);
  }
  double share(const Limits& limits) const {  // 0: not known
    const double rate = by_flops(limits) ? limits.flops : limits.bytes, amount = by_flops(limits) ? flops : bytes;
    return rate > 0 ? amount / rate / ours.seconds : 0;
  }
  std::string line(const Limits& limits) const {
    const bool shows_memory = name.starts_with("infonce");
    const auto memory = [&](const Figures& f) { return shows_memory ? shown(", %.1f MiB", f.memory / 0x1p20) : ""; };
    return "| " + name + " | " + shown("%.3f", 1e3 * ours.seconds) + memory(ours) + " | " +
           (by_flops(limits) ? shown("%.1f TFLOP/s", 1e-12 * flops / ours.seconds)
                             : shown("%.0f GB/s", 1e-9 * bytes / ours.seconds)) +
           " | " + (share(limits) > 0 ? shown("%.0f %%", 100 * share(limits)) : "-") + " | " +
           (rival ? shown("%.3f", 1e3 * rival->seconds) + memory(*rival) : "-") + " | " +
           (rival ? shown("%.2f", rival->seconds / ours.seconds) : "-") + " |";
  }
  Json json(const Limits& limits) const {
    Json fields{{"case", name}, {"seconds", ours.seconds}, {"memory", ours.memory}, {"bytes", bytes}, {"flops", flops}};
    if (share(limits) > 0) fields["share_of_limit"] = share(limits);
    if (rival) fields["rival_seconds"] = rival->seconds, fields["rival_memory"] = rival->memory;
    return fields;
  }
};

void run(const Options& o) {
  if (const std::string reason = gpu::missing(); o.device == "cuda" && !o.list && !reason.empty())
    fail(Exit::device, "kernels_bench: ", reason, "; --device emu tries the program without a GPU");
  const Device device = o.device == "cuda" ? Device::cuda : Device::emu;
  const std::vector<Case> cases = kernel_cases(device);
  if (o.list) return print_cases(cases);
  const std::map<std::string, Figures> rival = read_figures(o.beside);
  const std::string no_cublas = device == Device::cuda ? gpu::open_products(false) : "";
  Limits limits;
  std::string lines;
  std::printf("| kernel | ms | rate | of the limit | %s | torch / ours |\n|---|---|---|---|---|---|\n",
              o.beside.empty() ? "torch was not measured" : "torch, ms");
  for (const Case& c : cases) {
    if (!no_cublas.empty() && c.kernel == "product") continue;
    gpu::use_products({.cublas = !c.own_products && no_cublas.empty()});
    const Work work = c.make(c, device);
    const auto found = rival.find(c.name());
    const Row row{c.name(), work.bytes, work.flops, measure(work, device),
                  found == rival.end() ? std::nullopt : std::optional(found->second)};
    if (c.kernel == "copy") limits.bytes = row.bytes / row.ours.seconds;
    if (c.kernel == "product" && limits.flops == 0) limits.flops = row.flops / row.ours.seconds;
    std::printf("%s\n", row.line(limits).c_str());
    std::fflush(stdout);
    lines += row.json(limits).dump() + "\n";
  }
  if (!no_cublas.empty()) std::printf("\nWithout cuBLAS the limit of products is not known: %s\n", no_cublas.c_str());
  if (!o.output.empty()) write_text(o.output, lines);
}

}  // namespace
}  // namespace vlm2vec

int main(int argc, char** argv) {
  try {
    vlm2vec::run(vlm2vec::parse(argc, argv));
  } catch (const vlm2vec::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return int(error.code);
  }
}
