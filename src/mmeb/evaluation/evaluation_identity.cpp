#include "mmeb/evaluation/evaluation_identity.h"

#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "io/files.h"
#include "mmeb/evaluation/summary.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Must be raised whenever the program computes other scores from the same model, options and data.
constexpr int kEvaluationVersion = 1;

// Options with paths, which may be spelled in several ways.
const std::set<std::string> kPlaces = {"model_name",   "adapter",   "dataset_name",   "dataset_config",
                                       "data_basedir", "image_dir", "retrieval_file", "prompt_variants"};

std::string full_place(const std::string& path) {
  return (fs::absolute(path).lexically_normal() / "").parent_path().string();
}

struct Made {
  Json options;
  std::string model;     // the model's hash; empty: not known
  bool content = false;  // a hash identifies rows and pictures
};

// Returns the evaluations of the sets in a folder. Files of an earlier version take theirs from the summary.
std::vector<Made> evaluations_in(const fs::path& folder) {
  std::vector<Made> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (!entry.path().filename().string().ends_with("_score.json") || !entry.is_regular_file(none)) continue;
    const Json score = Json::parse(read_text(entry), nullptr, false);
    const Json made = score.is_object() ? score.value("evaluation", Json::object()) : Json();
    if (made.is_object() && made.contains("options"))
      found.push_back({made["options"], made.value("model_sha256", std::string()), made.contains("content_sha256")});
  }
  if (!found.empty()) return found;
  try {
    const Summary summary = read_summary(folder);
    found.push_back({Json::parse(summary.options), summary.model_sha256});
  } catch (const Error&) {  // missing or unreadable
  }
  return found;
}

bool is_same_place(const std::string& name, const Json& a, const Json& b) {
  return kPlaces.contains(name) && a.is_string() && b.is_string() && a != "" && b != "" &&
         full_place(a) == full_place(b);
}

}  // namespace

Json options_json(EvalOptions o) {
  Json options;
  o.fields([&](const char* name, const auto& value, const char*) { options[name] = value; });
  for (const char* how :
       {"encode_output_path", "embedding_cache", "save_embeddings", "per_device_eval_batch_size", "overwrite"})
    options.erase(how);  // these options change no score
  // As before these options existed.
  if (o.dim == 0) options.erase("dim");
  if (o.num_crops == 0) options.erase("num_crops");
  if (o.prompt.empty()) options.erase("prompt");
  for (const std::string& name : kPlaces)
    if (options[name] != "") options[name] = full_place(options[name]);
  return options;
}

void require_same_evaluation(const fs::path& folder, const Json& options, const std::string& model) {
  const auto refuse = [&](const std::string& what) {
    fail(Exit::usage, "eval: ", folder.string(), ": has an evaluation ", what,
         "; choose another --encode_output_path, or replace the evaluation with --overwrite True");
  };
  const auto filled = [](Json some) {  // files leave these out at their defaults
    static const Json defaults = {{"dim", 0}, {"num_crops", 0}, {"prompt", ""}};
    for (const auto& [name, value] : defaults.items())
      if (!some.contains(name)) some[name] = value;
    return some;
  };
  for (const auto& [stored, then_model, content] : evaluations_in(folder)) {
    const Json then = filled(stored), now = filled(options);
    for (const auto& [name, value] : now.items()) {
      const bool is_model = name == "model_name" || name == "adapter",
                 told_by_hash = is_model ? !then_model.empty() : content && kPlaces.contains(name);
      if (told_by_hash || !then.contains(name)) continue;
      if (name == "bad_rows" || name == "missing_sets" || (name == "subset_name" && content)) continue;
      if (then[name] != value && !is_same_place(name, then[name], value))
        refuse(sentence("with --", name, " ", then[name].dump(), ", now it is ", value.dump()));
    }
    if (!model.empty() && !then_model.empty() && then_model != model)
      refuse(sentence("of another model, ", then.value("model_name", "not named"),
                      then.value("adapter", "").empty() ? "" : " with " + then.value("adapter", ""),
                      " as it was then"));
  }
}

Json identity_json(const Json& options, const std::string& model, const std::string& device, const std::string& content,
                   int64_t candidates) {
  return {
      {"version", kEvaluationVersion}, {"model_sha256", model},    {"device", device},  {"instruction_set", isa_name()},
      {"content_sha256", content},     {"candidates", candidates}, {"options", options}};
}

bool is_same_evaluation(const Json& a, const Json& b) {
  const auto told_by_hashes = [](Json made) {
    if (!made.is_object() || !made.contains("options") || !made["options"].is_object()) return Json();
    for (const std::string& place : kPlaces) made["options"].erase(place);
    for (const char* which : {"subset_name", "missing_sets", "bad_rows"}) made["options"].erase(which);
    return made;
  };
  const Json known = told_by_hashes(a);
  return !known.is_null() && known == told_by_hashes(b);
}

}  // namespace vlm2vec
