#include "show/selftest.h"

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "io/scratch_folder.h"
#include "io/text.h"
#include "kernels/gpu.h"
#include "mmeb/training/grad_cache.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tensor/finite.h"
#include "tensor/parallel.h"
#include "tensor/random.h"
#include "vlm/encoder.h"
#include "vlm/image/image.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr double kStd = 0.2;  // standard deviation of the weights, large enough for every part to matter
constexpr int64_t kRows = 12;

// A small model of a family, without weights, and a picture for each row, in a folder that goes with it.
class TinyModel {
 public:
  TinyModel(const Family& family, uint64_t seed, int hidden) : family_(family), seed_(seed) {
    write_json(folder_.path / "config.json", family.tiny_config(hidden));
    const InputShape input = make_backbone(folder_.path / "config.json")->input();
    const bool resizes = input.image_size == 0;  // to different sizes
    write_picture_rule(*new_picture_rule(family, input, resizes ? 64 : 0, resizes ? 4096 : 0), folder_.path);
    const std::string& token = family.image_token;
    write_tokenizer_json(folder_.path / "tokenizer.json",
                         train_bpe(std::vector<std::string>{"which thing is this?"}, 300,
                                   {"<|endoftext|>", token.empty() ? kUsualImageToken : token}));
    Random random(seed);
    for (int i = 0; i < kRows; ++i) {
      Image picture(8 * (1 + i % 3), 8 * (1 + i % 2), 3);
      for (uint8_t& sample : picture.pixels) sample = uint8_t(random.below(256));
      write_png(this->picture(i), picture);
    }
  }

  std::unique_ptr<Encoder> load(bool f64, Device device) const {
    auto encoder = load_encoder(folder_.path, {.device = device, .f64 = f64, .load_weights = false});
    initialise(*encoder->backbone, kStd, seed_, f64 ? DType::f64 : DType::f32, device);
    return encoder;
  }
  std::vector<EncoderInput> queries() const { return rows(family_.image_token + "\n", " which thing is this?", true); }
  std::vector<EncoderInput> targets() const { return rows("", " thing", false); }

 private:
  fs::path picture(int i) const { return folder_.path / (std::to_string(i) + ".png"); }
  // Numbers come first: a family may take the text's vector from a token that sees only what stands before it.
  std::vector<EncoderInput> rows(const std::string& before, const std::string& after, bool with_pictures) const {
    std::vector<EncoderInput> rows;
    for (int i = 0; i < kRows; ++i) {
      rows.push_back(
          {before + std::to_string(i) + std::string(size_t(i % 3), '.') + after, {}, uint64_t(2 * i + with_pictures)});
      if (with_pictures) rows.back().images.push_back(picture(i));
    }
    return rows;
  }
  const Family& family_;
  uint64_t seed_;
  ScratchFolder folder_{"selftest"};
};

// Returns all gradients of one contrastive step in f64; with LoRA, the adapters' gradients under dropout.
std::vector<double> step_gradients(const TinyModel& tiny, bool lora, int64_t chunk, Device device, uint64_t seed) {
  const auto encoder = tiny.load(true, device);
  Backbone& backbone = *encoder->backbone;
  std::vector<Parameter*> trained = backbone.parameters();
  if (lora) {
    trained = attach_lora(backbone, {2, 4.0, 0.3, {"q_proj", "down_proj", "fc1"}}, &backbone.dropout).parameters();
    for (size_t i = 0; i < trained.size(); ++i)
      trained[i]->set(normal_tensor(trained[i]->shape(), kStd, mix(seed, i), DType::f64, device));
    backbone.dropout.active = true;
    backbone.dropout.seed = seed;
  }
  const TrainedParameters parameters(trained);
  contrastive_step(*encoder, tiny.queries(), tiny.targets(),
                   {.temperature = 0.2, .query_chunk = chunk, .target_chunk = chunk});
  return to_vector<double>(parameters.gradients());
}

double relative_l2(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}

std::vector<Check> grad_cache_checks(const Family& family, Device device, uint64_t seed, bool all) {
  const TinyModel tiny(family, seed, 16);
  std::vector<Check> checks;
  for (const bool lora : {false, true}) {
    const std::vector<double> plain = step_gradients(tiny, lora, 0, device, seed);
    for (const int64_t chunk : all ? std::vector<int64_t>{1, 3, 8} : std::vector<int64_t>{3})
      checks.push_back(
          {sentence(family.title, ", GradCache, ", lora ? "LoRA with dropout" : "all weights", ", chunk ", chunk),
           relative_l2(step_gradients(tiny, lora, chunk, device, seed), plain), 1e-12});
  }
  return checks;
}

// Queries and targets are the same B unit vectors of a basis. With e = exp(−1/τ) and Z = 1 + (B−1)e the loss is log Z;
// d loss / d q_i is −(1 − 1/Z)/(Bτ) in column i and e/(Z Bτ) in other columns, and so is d loss / d t_i.
std::vector<Check> info_nce_checks(Device device) {
  constexpr int64_t B = 40;  // exceeds a tile of the kernel in rows and columns
  constexpr double tau = 0.5;
  std::vector<double> basis(B * B, 0.0);
  for (size_t i = 0; i < B; ++i) basis[i * B + i] = 1;
  const Var q = Var::leaf(from_vector(basis, {B, B}, device)), t = Var::leaf(from_vector(basis, {B, B}, device));
  const InfoNceResult result = info_nce(q, t, tau);
  result.loss.backward();
  const double e = std::exp(-1 / tau), z = 1 + (B - 1) * e;
  double worst = 0;
  for (const Tensor& gradient : {q.grad(), t.grad()}) {
    const std::vector<double> d = to_vector<double>(gradient);
    for (size_t i = 0; i < d.size(); ++i)
      worst = worse(worst, std::abs(d[i] - (basis[i] == 1 ? 1 / z - 1 : e / z) / (B * tau)));
  }
  return {
      {"InfoNCE, loss against log(1 + (B-1) exp(-1/tau))", std::abs(item(result.loss.value()) - std::log(z)), 1e-14},
      {"InfoNCE, gradients against the closed form", worst, 1e-14}};
}

// How many numbers change a bit when rows are embedded in other batches, or by another number of threads.
std::vector<Check> invariance_checks(const Family& family, Device device, uint64_t seed, bool all) {
  const TinyModel wide(family, seed, 64);  // so that threads share the work of the whole batch
  const auto encoder = wide.load(false, device);
  std::vector<EncoderInput> rows = wide.queries();
  for (EncoderInput& row : wide.targets()) rows.push_back(std::move(row));
  const auto whole = to_vector<float>(embed(*encoder, rows, int64_t(rows.size())));
  const auto changed = [&](int64_t batch) {
    const auto y = to_vector<float>(embed(*encoder, rows, batch));
    double count = 0;
    for (size_t i = 0; i < y.size(); ++i) count += std::bit_cast<uint32_t>(y[i]) != std::bit_cast<uint32_t>(whole[i]);
    return count;
  };
  std::vector<Check> checks;
  std::vector<int64_t> batches = all ? std::vector<int64_t>{1, 3, 7} : std::vector<int64_t>{3};
  // cublasLt chooses the order of sums by the number of rows.
  if (device == Device::cuda && gpu::described_products().find("--cublas False") == std::string::npos) batches.clear();
  for (const int64_t batch : batches)
    checks.push_back({sentence(family.title, ", batches of ", batch, ": numbers that change"), changed(batch), 0});
  const int before = threads();
  for (const int n : all ? std::vector<int>{1, 2, 3} : std::vector<int>{3}) {
    set_threads(n);
    checks.push_back({sentence(family.title, ", ", n, n == 1 ? " thread" : " threads", ": numbers that change"),
                      changed(int64_t(rows.size())), 0});
  }
  set_threads(before);
  return checks;
}

}  // namespace

std::vector<Check> selftest(Device device, uint64_t seed) {
  std::vector<Check> all;
  const auto add = [&](const std::vector<Check>& part) { all.insert(all.end(), part.begin(), part.end()); };
  add(gradient_checks(device, seed));
  add(info_nce_checks(device));
  for (const Family& family : families()) {
    const bool first = &family == &families()[0];  // others: one check of each
    add(grad_cache_checks(family, device, seed, first));
    add(invariance_checks(family, device, seed, first));
  }
  return all;
}

std::string check_table(const std::vector<Check>& checks) {
  std::string table = formatted("%-52s %10s %10s\n", "check", "measured", "limit");
  for (const Check& c : checks)
    table += formatted("%-52s %10.3g %10.3g  %s\n", c.name.c_str(), c.measured, c.limit, c.ok() ? "ok" : "MISSED");
  return table;
}

}  // namespace vlm2vec
