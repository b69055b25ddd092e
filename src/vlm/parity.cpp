#include "vlm/parity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

struct Deviation {
  double largest = 0, scale = 0;  // max |a − b|, max |b|
  int64_t count = 0;              // of numbers that differ
};

Deviation deviation(const Tensor& ours, const Tensor& reference) {
  Deviation d;
  const auto a = to_vector<double>(ours), b = to_vector<double>(reference);
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= d.largest))
      d.largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
    d.scale = std::max(d.scale, std::abs(b[i]));
    d.count += !(difference == 0);
  }
  return d;
}

StageParity compare(const std::string& stage, const Tensor& ours, const Tensor& reference) {
  const Deviation d = deviation(ours, reference);
  if (!is_float(ours.dtype())) return {stage, double(d.count), 0};
  if (stage == "pixel_values") return {stage, d.largest, 3e-7};
  if (stage == "embedding") return {stage, d.largest, 5e-6};
  return {stage, d.largest / std::max(1.0, d.scale), 1e-4};
}

CaseParity compare_case(Encoder& encoder, const fs::path& folder, const nlohmann::json& c) {
  CaseParity result{c.at("name"), {}};
  EncoderInput input{c.at("text"), {}, 0, result.name};
  if (c.contains("images"))
    for (const auto& image : c.at("images")) input.images.push_back(folder / image.get<std::string>());
  const fs::path file = folder / (result.name + ".safetensors");
  NamedTensors reference = load_safetensors(file);
  for (const Stage& stage : stages_of(encoder, input)) {
    const auto found = reference.find(stage.name);
    if (found == reference.end()) continue;
    if (found->second.numel() != stage.value.numel() ||
        is_float(found->second.dtype()) != is_float(stage.value.dtype()))
      fail(Exit::data, file.string(), ": ", stage.name, " is ", found->second, ", this model gives ", stage.value,
           "; are model, prompt and pictures those of the reference?");
    result.stages.push_back(compare(stage.name, stage.value, found->second));
    reference.erase(found);
  }
  if (!reference.empty())
    fail(Exit::data, file.string(), ": this model has no stage ", reference.begin()->first,
         " for this input; are model and reference of one architecture?");
  if (result.stages.empty()) fail(Exit::data, file.string(), ": has no stage to compare");
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
  std::vector<CaseParity> results;
  try {
    for (const nlohmann::json& c : cases) {
      results.push_back(compare_case(encoder, reference, c));
      if (done) done(results.back());
    }
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": expected [{\"name\", \"text\", \"images\": [...]}] (", e.what(), ")");
  }
  if (results.empty()) fail(Exit::data, file.string(), ": has no case");
  return results;
}

}  // namespace vlm2vec
