// Compares every stage of a model with a reference implementation's.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// A stage's largest deviation and its limit:
//   ids, positions, grids   how many differ                                       0
//   pixel_values            max |a - b|; a byte is 1e-2 or more                   1e-6
//   embedding               max |a - b|; every case must have it                   5e-6
//   all others              max |a - b| / max(1, max |b| of the channel)          1e-4
struct StageParity {
  std::string stage;
  double error, limit;
  bool ok() const { return error <= limit; }  // false for NaN
};

struct CaseParity {
  std::string name;
  std::vector<StageParity> stages;        // in the model's order, those that the reference has
  std::string cause = {};                 // the known cause of the divergence, and its cure; empty: unknown
  const StageParity* divergence() const;  // the first stage beyond its limit; null: none
};

// A reference folder holds cases.json, [{"name", "text": the prompt, "images": [file, …]}], pictures relative to it.
// Each case has a NAME.safetensors with the stages of stages.h by name. Throws Exit::data for anything else.
std::vector<CaseParity> compare_with_reference(Encoder& encoder, const std::filesystem::path& reference,
                                               const std::function<void(const CaseParity&)>& done = {});

}  // namespace vlm2vec
