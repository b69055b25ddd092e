// What the command `bench` measures on the shapes of a model, in rounds that measure the peak of the machine, too.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// A training step to measure.
struct BenchStep {
  const char* name;
  bool adapters, dora;  // else all weights
  int64_t chunk;        // rows embedded at a time; 0: a side at once
};

struct BenchShape {
  const char *name, *config;  // the text of its config.json
  int64_t pairs;              // of a training step: a picture with text finds a text
  int picture;                // its side in pixels, when training
  int64_t text;               // tokens of each text, when training
  std::vector<BenchStep> steps;
};
const std::vector<BenchShape>& bench_shapes();

struct BenchOptions {
  const BenchShape* shape;
  bool bf16;       // --precision
  int64_t rounds;  // every time is the median of so many
};

// Medians. The peak is that of all threads in the precision: GFLOP/s of multiply-adds on registers. Of one thread the
// time is processor time, so that other programs do not count; of several it is wall-clock time.
struct Timing {
  double seconds = 0, peak = 0;
};
// Runs the work once without measuring, then in each round the peak and the work.
Timing measure(const BenchOptions& options, const std::function<void()>& work);

struct BenchRow {
  std::string name;
  double flops = 0;  // that the result needs; what is computed twice counts once
  Timing timing = {};
  int64_t tokens = 0, pairs = 0;                            // 0: none are counted
  int64_t peak_bytes = 0;                                   // in tensors; 0: not measured
  std::vector<std::pair<const char*, int64_t>> sizes = {};  // for JSON
  double gflops() const { return flops / timing.seconds * 1e-9; }
};

std::vector<BenchRow> bench_gemm(const BenchOptions& options);
std::vector<BenchRow> bench_attention(const BenchOptions& options);
std::vector<BenchRow> bench_embed(const BenchOptions& options);
std::vector<BenchRow> bench_train(const BenchOptions& options);

// The input of `embed`, of which `gemm` and `attention` have the sizes, too: one picture and a text.
inline constexpr int kBenchPicture = 448;
inline constexpr int64_t kBenchText = 64, kLongBenchText = 256;

DType stored_weights(const BenchShape& shape);  // the type that its configuration names
// The shape's model with random weights of that type.
std::unique_ptr<Encoder> bench_encoder(const BenchOptions& options);
// Returns a row with a picture of so many pixels a side (0: none) and so many tokens of text. Other numbers, other
// rows.
EncoderInput bench_input(const Encoder& encoder, int picture, int64_t text, uint64_t number);

// A forward pass: its tokens and the operations of both parts, as `explain` counts them.
struct ForwardCost {
  int64_t tokens = 0;
  double tower = 0, decoder = 0;
};
ForwardCost forward_cost(Encoder& encoder, std::span<const EncoderInput> rows);  // runs it

}  // namespace vlm2vec
