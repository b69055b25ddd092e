#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/commands.h"
#include "kernels/gpu.h"
#include "mini/world.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/cpu/speed.h"
#include "tensor/host_memory.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Returns the path of a program on the PATH; empty if it is not found.
std::string program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(sentence(path ? path : "", ":/usr/local/cuda/bin"));
  for (std::string folder; std::getline(folders, folder, ':');)
    if (fs::exists(fs::path(folder) / name)) return (fs::path(folder) / name).string();
  return "";
}

std::string package_note(const fs::path& file, const std::string& package) {
  return fs::exists(file) ? file.string() : "missing: apt-get install " + package;
}

Json gpus() {
  Json all = Json::array();
  for (const gpu::Card& card : gpu::cards())
    all.push_back({{"name", card.name},
                   {"compute_capability", sentence(card.major, ".", card.minor)},
                   {"memory_bytes", card.bytes}});
  if (!all.empty() && gpu::missing().empty()) all[0]["free_bytes"] = gpu::free_bytes();
  return all;
}

Json examine() {
  double peak = 0, bf16 = 0;
  for (int i = 0; i < 5; ++i) peak = std::max(peak, fma_peak()), bf16 = std::max(bf16, bf16_peak());
  const int64_t memory = host_memory().available, read = std::min<int64_t>(512 << 20, memory / 4);
  const mini::Sources sources;
  std::error_code unknown;
  return {{"processor", processor_name()},
          {"cores", std::thread::hardware_concurrency()},
          {"threads", threads()},
          {"instruction_sets", isa_names()},
          {"instruction_set", isa_name()},
          {"fma_peak_gflops_one_core", peak},
          {"fma_peak_gflops", of_all_threads(fma_peak)},
          {"bf16_peak_gflops_one_core", bf16},
          {"read_bandwidth_gb_per_s", read_bandwidth(read)},
          {"available_memory_bytes", memory},
          {"free_disk_bytes", fs::space(".", unknown).available},
          {"cuda", gpu::toolkit()},
          {"cuda_missing", gpu::missing()},
          {"cuda_driver", gpu::driver()},
          {"gpus", gpus()},
          {"nvidia_gpu", fs::exists("/proc/driver/nvidia/version")},
          {"nvcc", program("nvcc").empty() ? "missing; only make CUDA=1 and make kernels need it" : program("nvcc")},
          {"demo_font", package_note(sources.font, "fonts-noto-color-emoji")},
          {"demo_names", package_note(sources.names, "unicode-data")},
          {"demo_stamps", package_note(sources.stamps, "tuxpaint-stamps-default") +
                              (fs::exists(sources.stamps) ? "" : " (optional)")}};
}

void print(const Json& found) {
  std::string isas;
  for (const std::string name : found["instruction_sets"])
    isas += (isas.empty() ? "" : ", ") + name + (name == found["instruction_set"] ? " (used)" : "");
  const auto row = [](const std::string& name, const auto&... parts) {
    std::cout << std::left << std::setw(17) << name << sentence(std::fixed, std::setprecision(1), parts...) << '\n';
  };
  const auto text = [&](const char* name) { return found[name].get<std::string>(); };
  row("processor", text("processor"));
  row("cores", found["cores"], "; the program uses ", found["threads"], " threads (--threads)");
  row("instruction sets", isas);
  row("peak, measured", found["fma_peak_gflops_one_core"].get<double>(), " GFLOP/s on one core, ",
      found["fma_peak_gflops"].get<double>(), " GFLOP/s on all threads now (f32 multiply-adds)");
  const double bf16 = found["bf16_peak_gflops_one_core"];
  if (bf16 > 0) row("peak of bf16", bf16, " GFLOP/s on one core (--precision bf16)");
  else row("peak of bf16", "that of f32: this processor has no instructions for products of bf16");
  row("memory", in_bytes(found["available_memory_bytes"]), " available, read at ",
      found["read_bandwidth_gb_per_s"].get<double>(), " GB/s");
  row("disk", in_bytes(found["free_disk_bytes"]), " free in this folder");
  for (const Json& card : found["gpus"])
    row("GPU", card["name"].get<std::string>(), ", compute capability ", card["compute_capability"].get<std::string>(),
        ", ", in_bytes(card["memory_bytes"]),
        card.contains("free_bytes") ? ", free " + in_bytes(card["free_bytes"]) : "", ", driver for CUDA ",
        text("cuda_driver"));
  if (const std::string missing = text("cuda_missing"); !missing.empty())
    row("GPU", found["nvidia_gpu"].get<bool>() ? "an NVIDIA GPU is present, but " : "none: ", missing,
        "; --device emu runs the GPU kernels on the CPU");
  row("nvcc", text("nvcc"));
  row("demo's font", text("demo_font"));
  row("demo's names", text("demo_names"));
  row("demo's stamps", text("demo_stamps"));
}

}  // namespace

Exit run_doctor(const Command& command, const Arguments& arguments) {
  bool json = false;
  CommandLine line(command.name, command.purpose, "doctor");
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;

  const Json found = examine();
  if (json) std::cout << found << '\n';
  else print(found);
  return Exit::ok;
}

}  // namespace vlm2vec
