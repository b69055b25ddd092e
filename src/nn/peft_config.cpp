#include "nn/peft_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;  // of the patterns the first that fits counts

// Fields of adapter_config.json that are read below, or say nothing about what the adapter computes: where it comes
// from, how it was initialised, what other libraries make of it.
// clang-format off
const std::set<std::string> kKnownFields = {
    "peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora",
    "use_dora", "bias", "init_lora_weights",
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type", "peft_version",
    "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config",
    "layers_pattern", "qalora_group_size", "ensure_weight_tying"};
// clang-format on
// Initialisations that leave the base weights alone; the others (PiSSA, OLoRA, …) mean another base.
const std::set<std::string> kPlainStarts = {"gaussian", "orthogonal", "eva"};

bool is_unset(const Json& value) {
  return value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
}

class ConfigReader {
 public:
  explicit ConfigReader(const fs::path& file) : file_(file.string()) {
    read_json(file);  // for its errors
    json_ = Json::parse(read_text(file));
    if (!json_.is_object()) refuse("expected an object with the fields of PEFT's LoraConfig");
  }

  LoraConfig read() const {
    const Json type = field("peft_type");
    if (type != "LORA") refuse("peft_type is ", type.dump(), ", expected \"LORA\"");
    for (const auto& [name, value] : json_.items())
      if (!kKnownFields.contains(name) && !is_unset(value))
        refuse(name, " is ", shortened(value), ", which this program does not know");
    if (const Json bias = field("bias"); !is_unset(bias) && bias != "none")
      refuse("bias is ", shortened(bias), ", expected \"none\"");
    if (const Json start = field("init_lora_weights");
        start.is_string() && !kPlainStarts.contains(start.get<std::string>()))
      refuse("init_lora_weights is ", shortened(start),
             ", which changes the base weights; convert the adapter to LoRA");
    LoraConfig config;
    config.rank = rank("r", field("r"));
    config.alpha = number("lora_alpha", field("lora_alpha"));
    config.dropout = json_.contains("lora_dropout") ? number("lora_dropout", field("lora_dropout")) : 0;
    if (config.dropout < 0 || config.dropout >= 1)
      refuse("lora_dropout is ", config.dropout, ", expected from 0 to below 1");
    config.use_dora = flag("use_dora"), config.use_rslora = flag("use_rslora");
    const Json ranks = pattern("rank_pattern"), alphas = pattern("alpha_pattern");
    for (const auto& [name, value] : ranks.items()) config.rank_pattern.emplace_back(name, rank(name, value));
    for (const auto& [name, value] : alphas.items()) config.alpha_pattern.emplace_back(name, number(name, value));
    read_targets(config);
    return config;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Exit::data, file_, ": ", parts...);
  }
  static std::string shortened(const Json& value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > 80 ? text.substr(0, 80) + "…" : text;
  }
  Json field(const std::string& name) const { return json_.value(name, Json()); }
  bool flag(const std::string& name) const {
    const Json value = field(name);
    if (!value.is_null() && !value.is_boolean()) refuse(name, " is ", shortened(value), ", expected true or false");
    return value == true;
  }
  double number(const std::string& name, const Json& value) const {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      refuse(name, " is ", shortened(value), ", expected a number");
    return value.get<double>();
  }
  int rank(const std::string& name, const Json& value) const {
    const double r = number(name, value);
    if (r < 1 || r != std::floor(r) || r > 1 << 20) refuse(name, " is ", shortened(value), ", expected at least 1");
    return int(r);
  }
  Json pattern(const std::string& name) const {
    const Json value = field(name);
    if (!value.is_null() && !value.is_object())
      refuse(name, " is ", shortened(value), ", expected {regular expression: number}");
    return value.is_null() ? Json::object() : value;
  }
  void read_targets(LoraConfig& config) const {
    const Json targets = field("target_modules");
    if (targets.is_string()) {
      config.target_pattern = targets.get<std::string>();
      std::string lower = config.target_pattern;
      for (char& c : lower) c = char(std::tolower(uint8_t(c)));
      if (lower == "all-linear") config.target_pattern = lower;
    } else if (targets.is_array()) {
      for (const Json& target : targets) {
        if (!target.is_string()) refuse("target_modules holds ", shortened(target), ", expected names");
        config.target_modules.push_back(target.get<std::string>());
      }
    }
    if (config.target_pattern.empty() && config.target_modules.empty())
      refuse("target_modules is ", shortened(targets), ", expected a list of names or a regular expression");
  }

  std::string file_;
  Json json_;
};

}  // namespace

LoraConfig read_peft_config(const fs::path& file) { return ConfigReader(file).read(); }

void write_peft_config(const LoraConfig& c, const fs::path& file, const std::string& base_model) {
  const auto object = [](const auto& pairs) {
    Json all = Json::object();
    for (const auto& [name, value] : pairs) all[name] = value;
    return all;
  };
  const Json config = {{"peft_type", "LORA"},
                       {"base_model_name_or_path", base_model},
                       {"r", c.rank},
                       {"lora_alpha", c.alpha},
                       {"lora_dropout", c.dropout},
                       {"target_modules", c.target_pattern.empty() ? Json(c.target_modules) : Json(c.target_pattern)},
                       {"rank_pattern", object(c.rank_pattern)},
                       {"alpha_pattern", object(c.alpha_pattern)},
                       {"bias", "none"},
                       {"use_dora", c.use_dora},
                       {"use_rslora", c.use_rslora},
                       {"fan_in_fan_out", false},
                       {"init_lora_weights", "gaussian"},
                       {"inference_mode", true},
                       {"task_type", nullptr}};
  write_text(file, config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace vlm2vec
