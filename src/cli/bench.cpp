#include "cli/bench.h"

#include <algorithm>
#include <ctime>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/text.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/cpu/speed.h"
#include "tensor/host_memory.h"
#include "tensor/parallel.h"
#include "tensor/stopwatch.h"

namespace vlm2vec {
namespace {

using Json = nlohmann::ordered_json;

struct Kind {
  const char* name;
  std::vector<BenchRow> (*run)(const BenchOptions& options);
};
const std::vector<Kind> kinds = {
    {"gemm", bench_gemm}, {"attention", bench_attention}, {"embed", bench_embed}, {"train", bench_train}};

template <class Items>
std::string names_of(const Items& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name);
  return joined(names, ", ", " or ");
}

template <class Items>
const auto& named(const Items& items, const std::string& name, const std::string& option) {
  for (const auto& item : items)
    if (name == item.name) return item;
  fail(Exit::usage, "bench: ", option, "got \"", name, "\", expected ", names_of(items));
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Json to_json(const BenchRow& row) {
  Json json{{"name", row.name}};
  for (const auto& [name, size] : row.sizes) json[name] = size;
  if (row.tokens > 0) json["tokens"] = row.tokens;
  if (row.pairs > 0) json["pairs"] = row.pairs;
  json["flops"] = row.flops;
  json["seconds"] = row.timing.seconds;
  json["gflops"] = row.gflops();
  json["peak_gflops"] = row.timing.peak;
  json["percent_of_peak"] = row.timing.peak > 0 ? Json(100 * row.gflops() / row.timing.peak) : Json();
  if (row.tokens > 0) json["tokens_per_second"] = double(row.tokens) / row.timing.seconds;
  if (row.pairs > 0) json["pairs_per_second"] = double(row.pairs) / row.timing.seconds;
  if (row.peak_bytes > 0) json["peak_bytes"] = row.peak_bytes;
  return json;
}

void print(const BenchRow& row) {
  const double ms = row.timing.seconds * 1e3;
  std::cout << std::left << std::setw(58) << row.name << std::right
            << formatted("%10.*f ms %8.1f GFLOP/s",
                         ms < 1     ? 4
                         : ms < 100 ? 2
                                    : 0,
                         ms, row.gflops());
  if (row.timing.peak > 0)
    std::cout << formatted(" %4.0f %% of %.0f", 100 * row.gflops() / row.timing.peak, row.timing.peak);
  if (row.tokens > 0) std::cout << formatted(", %.0f tokens/s", double(row.tokens) / row.timing.seconds);
  if (row.pairs > 0) std::cout << formatted(", %.2f pairs/s", double(row.pairs) / row.timing.seconds);
  if (row.peak_bytes > 0) std::cout << ", " << in_bytes(row.peak_bytes);
  std::cout << '\n';
}

}  // namespace

Timing measure(const BenchOptions& options, const std::function<void()>& work) {
  const auto peak = options.bf16 && simd().spin_bf16 ? bf16_peak : fma_peak;
  work();
  std::vector<double> seconds, peaks;
  for (int64_t round = 0; round < options.rounds; ++round) {
    peaks.push_back(threads() == 1 ? peak() : of_all_threads(peak));
    const std::clock_t begin = std::clock();
    Stopwatch watch;
    work();
    const double wall = watch.lap(), processor = double(std::clock() - begin) / CLOCKS_PER_SEC;
    seconds.push_back(threads() == 1 ? processor : wall);
  }
  return {median(seconds), median(peaks)};
}

Exit run_bench(const Command& command, const Arguments& arguments) {
  std::vector<std::string> words;
  std::string shape = "mid", precision = "f32";
  int64_t rounds = 5;
  bool json = false;
  CommandLine line(command.name, command.purpose, "bench embed --shape mini --threads 1");
  line.words("KIND", words, names_of(kinds));
  line("shape", shape, "<qwen2-vl-2b|mid|mini> model whose shapes are measured, with random weights");
  line("precision", precision, "<f32|bf16> as in embed and train; the peak is that of the precision");
  line("rounds", rounds, "every time is the median of so many rounds");
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;
  if (words.size() > 1) fail(Exit::usage, "bench: got ", joined(words, " "), ", expected one of ", names_of(kinds));
  const Kind& kind = named(kinds, words[0], "");
  if (precision != "f32" && precision != "bf16")
    fail(Exit::usage, "bench: --precision: got \"", precision, "\", expected f32 or bf16");
  if (rounds < 1) fail(Exit::usage, "bench: --rounds: got ", rounds, ", expected 1 or more");
  const BenchOptions options{&named(bench_shapes(), shape, "--shape: "), precision == "bf16", rounds};

  const std::vector<BenchRow> rows = kind.run(options);
  if (json) {
    Json list = Json::array();
    for (const BenchRow& row : rows) list.push_back(to_json(row));
    std::cout << Json{{"kind", kind.name},
                      {"shape", shape},
                      {"precision", precision},
                      {"processor", processor_name()},
                      {"instruction_set", isa_name()},
                      {"threads", threads()},
                      {"rounds", rounds},
                      {"most_resident_bytes", most_resident_bytes()},
                      {"rows", list}}
              << '\n';
    return Exit::ok;
  }
  std::cout << kind.name << " of " << shape << " in " << precision << ", " << isa_name() << ", "
            << counted(uint64_t(threads()), "thread") << ", medians of " << rounds << ", process at most "
            << in_bytes(most_resident_bytes()) << '\n';
  for (const BenchRow& row : rows) print(row);
  return Exit::ok;
}

}  // namespace vlm2vec
