#include "nn/state.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "io/text.h"
#include "tensor/parallel.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

std::string some(const std::set<std::string>& names) {
  return names.empty() ? "none" : listed({names.begin(), names.end()});
}

constexpr const char* kQuantised = "; quantised weights are not read: use the original model";

// Refuses weights with tensors that only quantised models have, whether or not the configuration says so.
void check_precision_of(const NamedTensors& stored, const std::string& source) {
  for (const auto& [name, tensor] : stored)
    for (const char* ending :
         {".qweight", ".qzeros", ".absmax", ".SCB", ".weight_scale", ".weight_scale_inv", ".weight_packed"})
      if (name.ends_with(ending))
        fail(Exit::data, source, ": ", name, " shows that the weights are quantised", kQuantised);
}

// Explains a missing name by a prefix of all names: torch's wrappers add "module." or "_orig_mod.".
std::string prefix_note(const NamedTensors& stored, const std::string& missing) {
  for (const auto& [name, tensor] : stored) {
    if (!name.ends_with("." + missing)) continue;
    const std::string prefix = name.substr(0, name.size() - missing.size());
    if (std::ranges::all_of(stored, [&](const auto& one) { return one.first.starts_with(prefix); }))
      return "; all names begin with " + prefix + ", which a wrapper of the model adds: save the model without it";
  }
  return "";
}

uint64_t hash(std::string_view text) {  // FNV-1a
  uint64_t h = 0xCBF29CE484222325u;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001B3u;
  return h;
}

}  // namespace

std::vector<std::string> load_parameters(Module& module, const NamedTensors& stored, const LoadOptions& options,
                                         const std::string& source) {
  const TensorNames& names = module.names();
  NamedTensors by_name;
  for (const auto& [name, tensor] : stored)
    if (!by_name.emplace(canonical_name(name, names), tensor).second)
      fail(Exit::data, source, ": ", canonical_name(name, names), " is stored twice, in two spellings");
  std::vector<std::string> notes;
  check_precision_of(stored, source);
  const auto head = names.head.empty() ? by_name.end() : by_name.find(names.head);
  const bool only_head = head != by_name.end() && !by_name.contains(names.embedding);
  if (only_head && options.tied) {
    by_name.emplace(names.embedding, head->second), by_name.erase(head);
    notes.push_back(names.embedding + " is read from " + names.head + ": the two are one tensor");
  }
  std::set<std::string> missing, unused;
  std::map<std::string, std::set<std::string>> left_out;  // by reason
  int64_t wide = 0;                                       // tensors of f64 that became f32
  for (const auto& [name, tensor] : by_name) unused.insert(name);
  module.each_parameter([&](Parameter& p) {
    const auto found = by_name.find(p.path());
    if (found == by_name.end()) {
      missing.insert(p.path());
      return;
    }
    unused.erase(p.path());
    const Tensor& t = found->second;
    const bool fits = t.numel() == numel(p.shape()) &&
                      (p.shape().empty() || (!t.shape().empty() && t.dim(0) == p.shape()[0]));
    if (!fits || !is_float(t.dtype()))
      fail(Exit::data, source, ": ", p.path(), " is ", t, ", the configuration needs ", to_string(p.shape()),
           is_float(t.dtype()) ? "; do config.json and weights belong together?" : kQuantised);
    wide += t.dtype() == DType::f64 && !options.dtype;
    const DType kept = p.is_matrix() && t.dtype() != DType::f64 ? options.matrices.value_or(t.dtype()) : DType::f32;
    p.set(t.view(p.shape()).to(options.dtype.value_or(kept)).to(options.device));
  });
  for (const auto& [name, tensor] : by_name)
    if (const std::string reason = ignored_because(name, names); !reason.empty() && unused.erase(name))
      left_out[reason].insert(name);
  if (!missing.empty() || !unused.empty())
    fail(Exit::data, source, ": the weights do not fit the model; missing: ", some(missing),
         "; not used: ", some(unused), missing.empty() ? "" : prefix_note(stored, *missing.begin()),
         only_head && missing.contains(names.embedding)
             ? "; if " + names.head + " is the embedding too, config.json should say \"tie_word_embeddings\": true"
             : "");
  for (const auto& [reason, tensors] : left_out)
    notes.push_back(some(tensors) + (tensors.size() == 1 ? " is" : " are") + " not used: " + reason);
  if (wide > 0) notes.push_back(sentence(wide, " tensors of 64-bit floats are converted to f32"));
  return notes;
}

Tensor normal_tensor(const Shape& shape, double std, uint64_t seed, DType dtype, Device device) {
  Tensor values(shape, dtype, Device::cpu);
  dispatch_float(dtype, [&]<class T>() {
    T* const to = values.data<T>();
    parallel_for(values.numel(), 1 << 12, [&](int64_t begin, int64_t end) {
      Random random(seed, 2 * uint64_t(begin));  // a normal number takes two words
      for (int64_t i = begin; i < end; ++i) to[i] = T(float(std * random.normal()));
    });
  });
  return values.to(device);
}

Tensor initial_value(const Parameter& p, double std, uint64_t seed, DType dtype, Device device) {
  if (p.shape().empty()) return full({}, std::log(1 / 0.07), dtype, device);
  const bool bias = p.path().ends_with("bias"), norm = p.path().ends_with("weight");
  if (!p.is_matrix() && (bias || norm)) return full(p.shape(), bias ? 0 : 1, dtype, device);
  return normal_tensor(p.shape(), std, mix(seed, hash(p.path())), dtype, device);
}

void initialise(Module& module, double std, uint64_t seed, DType dtype, Device device) {
  module.each_parameter([&](Parameter& p) { p.set(initial_value(p, std, seed, dtype, device)); });
}

NamedTensors state_dict(Module& module) {
  NamedTensors state;
  module.each_parameter([&](Parameter& p) { state.emplace(p.path(), p.value()); });
  return state;
}

}  // namespace vlm2vec
