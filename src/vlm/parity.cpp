#include "vlm/parity.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "tensor/finite.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

int64_t count_different(const std::vector<double>& a, const std::vector<double>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = worse(largest, std::abs(a[i] - b[i]));
  return largest;
}

// Each channel has its own scale: in real models a few are a thousand times larger than the rest.
double largest_relative_difference(const std::vector<double>& a, const std::vector<double>& b, size_t channels) {
  std::vector<double> scale(channels, 1.0);
  for (size_t i = 0; i < b.size(); ++i) scale[i % channels] = std::max(scale[i % channels], std::abs(b[i]));
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = worse(largest, std::abs(a[i] - b[i]) / scale[i % channels]);
  return largest;
}

StageParity compare(const std::string& stage, const Tensor& ours, const Tensor& reference) {
  const auto a = to_vector<double>(ours), b = to_vector<double>(reference);
  if (!is_float(ours.dtype())) return {stage, double(count_different(a, b)), 0};
  if (stage == "pixel_values") return {stage, largest_difference(a, b), 1e-6};
  if (stage == "embedding") return {stage, largest_difference(a, b), 5e-6};
  return {stage, largest_relative_difference(a, b, size_t(ours.columns())), 1e-4};
}

// Counts the tokens of pictures: their time, row and column differ. positions: [3, tokens]
int64_t placed_tokens(const Tensor& positions) {
  const auto p = to_vector<double>(positions);
  const size_t tokens = p.size() / 3;
  int64_t count = 0;
  for (size_t i = 0; i < tokens; ++i) count += p[i] != p[tokens + i] || p[i] != p[2 * tokens + i];
  return count;
}

std::string cause_of(const Tensor& ours, const Tensor& reference) {
  const int64_t here = placed_tokens(ours), there = placed_tokens(reference);
  if (here < there)
    return "transformers >= 5.3 gives pictures 3-D positions even without <|vision_start|>: --image_positions 3d";
  if (here > there)
    return "transformers <= 5.2 gives pictures 1-D positions without <|vision_start|>: --image_positions 1d";
  return "";
}

CaseParity compare_case(Encoder& encoder, const fs::path& folder, const nlohmann::json& c) {
  CaseParity result{c.at("name"), {}};
  EncoderInput input{c.at("text"), {}, 0, result.name};
  if (c.contains("images"))
    for (const auto& image : c.at("images")) input.images.push_back(folder / image.get<std::string>());
  const fs::path file = folder / (result.name + ".safetensors");
  if (!fs::exists(file)) fail(Exit::data, file.string(), ": no such file; tests/interop/dump.py writes it");
  NamedTensors reference = load_safetensors(file);
  for (const Stage& stage : stages_of(encoder, input).list) {
    const auto found = reference.find(stage.name);
    if (found == reference.end()) continue;
    if (found->second.numel() != stage.value.numel() ||
        is_float(found->second.dtype()) != is_float(stage.value.dtype()))
      fail(Exit::data, file.string(), ": ", stage.name, " is ", found->second, ", this model gives ", stage.value,
           "; are model, prompt and pictures those of the reference?");
    result.stages.push_back(compare(stage.name, stage.value, found->second));
    if (stage.name == "position_ids") result.cause = cause_of(stage.value, found->second);
    reference.erase(found);
  }
  if (!reference.empty())
    fail(Exit::data, file.string(), ": this model has no stage ", reference.begin()->first,
         " for this input; are model and reference of one architecture?");
  if (result.stages.empty() || result.stages.back().stage != "embedding")
    fail(Exit::data, file.string(), ": has no embedding to compare");
  return result;
}

}  // namespace

const StageParity* CaseParity::divergence() const {
  const auto found = std::find_if(stages.begin(), stages.end(), [](const StageParity& s) { return !s.ok(); });
  return found == stages.end() ? nullptr : &*found;
}

std::vector<CaseParity> compare_with_reference(Encoder& encoder, const fs::path& reference,
                                               const std::function<void(const CaseParity&)>& done) {
  const fs::path file = reference / "cases.json";
  const nlohmann::json cases = read_json(file);
  if (!cases.is_array())
    fail(Exit::data, file.string(), ": is ", cases.type_name(),
         ", expected [{\"name\", \"text\", \"images\": [...]}]");
  std::vector<CaseParity> results;
  try {
    for (const nlohmann::json& c : cases) {
      results.push_back(compare_case(encoder, reference, c));
      if (done) done(results.back());
    }
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": expected [{\"name\", \"text\", \"images\": [...]}] (", reason_of(e), ")");
  }
  if (results.empty()) fail(Exit::data, file.string(), ": has no case");
  return results;
}

}  // namespace vlm2vec
