// Training steps against the official trainer's: losses, gradient norms, gradients of the first step, final
// weights.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "devices.h"
#include "golden.h"
#include "io/files.h"
#include "mmeb/data/dataset.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/trainer.h"
#include "nn/optim.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/finite.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Limits {
  double loss, norm, weights;
};

const fs::path training() { return golden("qwen2_vl/training"); }

TrainOptions golden_options(const json& description, const std::string& run, const fs::path& output) {
  const json& s = description.at("settings");
  TrainOptions o;
  o.model_name = golden("qwen2_vl/tiny"), o.train_file = training() / "train.jsonl", o.output_dir = output;
  o.batches = output.string() + "-batches.json";
  write_json(o.batches, description.at("batches"));
  o.max_steps = int64_t(description.at("batches").size());
  o.temperature = s.at("temperature"), o.warmup_steps = s.at("warmup_steps"), o.weight_decay = s.at("weight_decay");
  o.adam_beta1 = s.at("betas")[0], o.adam_beta2 = s.at("betas")[1], o.adam_epsilon = s.at("eps"),
  o.max_grad_norm = s.at("max_grad_norm");
  o.learning_rate = s.at("learning_rate").at(run == "full" ? "full" : "adapter");
  o.resize_max_pixels = 1003520;
  if (run != "full") o.adapter = training() / "dora/initial", o.use_dora = run != "lora";
  return o;
}

// The first 8 rows of a matrix, flattened to two dimensions, as the reference stores them.
std::vector<double> stored_part(const Tensor& t) {
  const Tensor flat = t.shape().size() < 2 ? t : t.view({t.dim(0), -1}).rows(0, std::min<int64_t>(8, t.dim(0)));
  return to_vector<double>(flat);
}

class TrainingGolden : public testing::Test {
 protected:
  void SetUp() override { NEEDS_GOLDEN("qwen2_vl") }

  // Trains on all batches or on the first ones: these are of the warm-up, whose rates don't depend on the others.
  void replay(const std::string& run, const Limits& limits, int64_t chunk, Device device = Device::cpu,
              int64_t most_steps = 1000, const std::string& precision = "f32") {
    const json description = read_json(training() / "training.json");
    TrainOptions o = golden_options(description, run, folder_ / run);
    o.gc_q_chunk_size = o.gc_p_chunk_size = chunk;
    o.max_steps = std::min(o.max_steps, most_steps), o.precision = precision;
    fs::remove_all(folder_ / run);
    train(o, device, true);
    std::istringstream log(read_text(folder_ / run / "log.jsonl"));
    double worst_loss = 0, worst_norm = 0;
    int64_t steps = 0;
    for (std::string line; std::getline(log, line); ++steps) {
      const json ours = json::parse(line), &theirs = description.at("runs").at(run).at("steps").at(size_t(steps));
      const double loss = theirs.at("loss"), unit = precision == "bf16" ? loss : 1;  // in bf16: relative
      worst_loss = worse(worst_loss, std::abs(ours.at("loss").get<double>() - loss) / unit);
      const double norm = theirs.at("grad_norm");
      worst_norm = worse(worst_norm, std::abs(ours.at("grad_norm").get<double>() - norm) / norm);
      EXPECT_DOUBLE_EQ(ours.at("learning_rate").get<double>(), theirs.at("learning_rate").get<double>());
    }
    EXPECT_EQ(steps, o.max_steps);
    EXPECT_GE(steps, 1);
    EXPECT_LE(worst_loss, limits.loss);
    EXPECT_LE(worst_norm, limits.norm);
    if (limits.weights > 0) compare_weights(run, limits.weights);
    RecordProperty(run + "_loss", sentence(worst_loss));
    RecordProperty(run + "_norm", sentence(worst_norm));
  }

  void compare_weights(const std::string& run, double limit) {
    const bool full = run == "full";
    NamedTensors ours;  // by the modules' names: adapters are written in the newer spelling, the reference's in the older
    for (const auto& [name, tensor] :
         load_safetensors(folder_ / run / (full ? "model.safetensors" : "adapter_model.safetensors")))
      ours.emplace(canonical_name(name, qwen_names()), tensor);
    const NamedTensors theirs =
        load_safetensors(training() / (full            ? "full/final.safetensors"
                                       : run == "lora" ? "lora/final/adapter_model.safetensors"
                                                       : "dora/final/adapter_model.safetensors"));
    double worst = 0;
    ASSERT_FALSE(theirs.empty());
    for (const auto& [name, tensor] : theirs) {
      const Tensor& trained = ours.at(canonical_name(name, qwen_names()));
      const auto a = full ? stored_part(trained) : to_vector<double>(trained),
                 b = to_vector<double>(tensor);
      ASSERT_EQ(a.size(), b.size()) << name;
      for (size_t i = 0; i < a.size(); ++i) worst = worse(worst, std::abs(a[i] - b[i]));
    }
    EXPECT_LE(worst, limit) << run;
    RecordProperty(run + "_weights", sentence(worst));
  }
  const TemporaryFolder folder_{"golden"};
};

TEST_F(TrainingGolden, full) { replay("full", {1e-3, 3e-3, 5e-5}, 0); }
TEST_F(TrainingGolden, lora) { replay("lora", {1e-4, 2e-4, 1e-5}, 0); }
TEST_F(TrainingGolden, lora_by_grad_cache) { replay("lora", {1e-4, 2e-4, 1e-5}, 3); }
TEST_F(TrainingGolden, dora) { replay("dora", {1e-4, 2e-4, 1e-5}, 0); }
TEST_F(TrainingGolden, dora_gradcache) { replay("dora_gradcache", {1e-4, 2e-4, 1e-5}, 2); }

// The first steps; all of them in make test-slow.
class TrainingGoldenOnDevices : public TrainingGolden {
 protected:
  void replay_everywhere(const std::string& run, Limits limits, int64_t chunk) {
    const bool all = std::getenv("VLM2VEC_ALL_STEPS") != nullptr;
    if (!all) limits.weights = 0;
    for (const Device device : kernel_devices()) {
      SCOPED_TRACE(name_of(device));
      replay(run, limits, chunk, device, all ? 1000 : 3);
    }
  }
  // Losses within 2 % of f32's.
  void replay_in_bf16(const std::string& run) {
    for (const Device device : kernel_devices()) replay(run, {0.02, 1, 0}, 0, device, 3, "bf16");
  }
};
TEST_F(TrainingGoldenOnDevices, full) { replay_everywhere("full", {1e-3, 3e-3, 5e-5}, 0); }
TEST_F(TrainingGoldenOnDevices, lora) { replay_everywhere("lora", {1e-4, 2e-4, 1e-5}, 0); }
TEST_F(TrainingGoldenOnDevices, dora_gradcache) { replay_everywhere("dora_gradcache", {1e-4, 2e-4, 1e-5}, 2); }
TEST_F(TrainingGoldenOnDevices, full_in_bf16) { replay_in_bf16("full"); }
TEST_F(TrainingGoldenOnDevices, dora_in_bf16) { replay_in_bf16("dora"); }


// d loss / d parameter of the first batch, by parameter.
std::map<std::string, Tensor> first_gradients(Encoder& encoder, const TrainedParameters& parameters) {
  const json description = read_json(training() / "training.json");
  const auto rows = read_train_rows(training() / "train.jsonl");
  std::vector<EncoderInput> queries, targets;
  for (const int64_t row : description.at("batches")[0].get<std::vector<int64_t>>()) {
    queries.push_back(encoder_input(rows[size_t(row)].query, encoder.image_token(), training()));
    targets.push_back(encoder_input(rows[size_t(row)].positives[0], encoder.image_token(), training()));
  }
  contrastive_step(encoder, queries, targets, {.temperature = description.at("settings").at("temperature")});
  std::map<std::string, Tensor> gradients;
  for (Parameter* p : parameters.parameters()) gradients.emplace(p->path(), static_cast<const Var&>(*p).grad());
  return gradients;
}

// |ours − theirs| / |theirs| over all tensors that are stored.
double relative_l2(const std::map<std::string, Tensor>& ours, const NamedTensors& theirs, bool parts) {
  double difference = 0, size = 0;
  for (const auto& [name, tensor] : theirs) {
    const Tensor& gradient = ours.at(canonical_name(name, qwen_names()));
    const auto a = parts ? stored_part(gradient) : to_vector<double>(gradient), b = to_vector<double>(tensor);
    EXPECT_EQ(a.size(), b.size()) << name;
    for (size_t i = 0; i < b.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

TEST_F(TrainingGolden, first_gradients_of_all_weights) {
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"), {.max_pixels = 1003520});
  const TrainedParameters parameters(encoder->backbone->parameters());
  EXPECT_LE(relative_l2(first_gradients(*encoder, parameters),
                        load_safetensors(training() / "full/gradients_step1.safetensors"), true),
            1e-4);
}

// Gradients of the first batch with an adapter of training/dora, and what of them the reference lists.
struct AdapterGradients {
  std::map<std::string, Tensor> ours;
  NamedTensors theirs;
  size_t adapters;
};
AdapterGradients adapter_gradients(const fs::path& folder, const fs::path& reference, bool use_dora) {
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"), {.max_pixels = 1003520});
  std::vector<std::string> notes;
  const AttachedLora lora = load_adapter(*encoder->backbone, training() / folder, {.use_dora = use_dora}, nullptr, notes);
  const TrainedParameters parameters(lora.parameters());
  return {first_gradients(*encoder, parameters), load_safetensors(training() / reference), lora.adapters.size()};
}

TEST_F(TrainingGolden, first_gradients_of_adapters) {
  for (const bool use_dora : {false, true}) {
    const auto [ours, theirs, adapters] = adapter_gradients(
        "dora/initial", use_dora ? "dora/gradients_step1.safetensors" : "lora/gradients_step1.safetensors", use_dora);
    ASSERT_EQ(theirs.size(), adapters * (use_dora ? 2 : 1));  // of B and the magnitudes; A's are zero as long as B is
    EXPECT_LE(relative_l2(ours, theirs, false), 1e-4);
    for (const auto& [name, gradient] : ours)
      if (name.find("lora_A") != std::string::npos) {
        for (const float x : to_vector<float>(gradient)) ASSERT_EQ(x, 0) << name;
      }
  }
}

TEST_F(TrainingGolden, last_gradients_of_dora) {
  const auto [ours, theirs, adapters] = adapter_gradients("dora/final", "dora/gradients_final.safetensors", true);
  EXPECT_EQ(theirs.size(), 3 * adapters / 2);  // of one of the two layers
  EXPECT_LE(relative_l2(ours, theirs, false), 2e-4);
}

TEST(LossGolden, value_and_gradients) {
  NEEDS_GOLDEN("qwen2_vl")
  const NamedTensors arrays = load_safetensors(golden("qwen2_vl/loss.safetensors"));
  std::set<std::string> stored, compared;  // both files list every case
  for (const auto& [name, array] : arrays) stored.insert(name.substr(0, name.find('/')));
  for (const json& c : read_json(golden("qwen2_vl/loss.json"))) {
    const std::string name = c.at("name");
    const Var q = Var::leaf(arrays.at(name + "/query")), t = Var::leaf(arrays.at(name + "/target"));
    const Var loss = info_nce(q, t, c.at("temperature")).loss;
    EXPECT_NEAR(item(loss.value()), c.at("loss").get<double>(), 1e-5) << name;
    loss.backward();
    for (const auto& [gradient, key] : {std::pair(q.grad(), "/d_query"), {t.grad(), "/d_target"}}) {
      const auto a = to_vector<float>(gradient), b = to_vector<float>(arrays.at(name + key));
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5) << name << key << " " << i;
    }
    compared.insert(name);
  }
  EXPECT_EQ(compared, stored);
  EXPECT_FALSE(stored.empty());
}

}  // namespace
}  // namespace vlm2vec
