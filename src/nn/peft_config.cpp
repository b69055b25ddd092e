#include "nn/peft_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;  // ordered: the first pattern that fits counts

// Fields of adapter_config.json that are read below or do not change the adapter's result, such as its origin, its
// initialisation and settings of other libraries.
// clang-format off
const std::set<std::string> kKnownFields = {
    "peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora",
    "use_dora", "bias", "init_lora_weights", "exclude_modules", "layers_to_transform", "layers_pattern",
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type", "peft_version",
    "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config",
    "qalora_group_size", "ensure_weight_tying"};
// clang-format on
// Initialisations that keep the base weights; others (PiSSA, OLoRA, …) change them.
const std::set<std::string> kPlainStarts = {"gaussian", "orthogonal", "eva"};

bool is_unset(const Json& value) {
  return value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
}

class ConfigReader {
 public:
  explicit ConfigReader(const fs::path& file) : file_(file.string()) {
    read_json(file);  // throws its clearer error
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
    read_pattern("rank_pattern", config.rank_pattern, [&](auto&... entry) { return rank(entry...); });
    read_pattern("alpha_pattern", config.alpha_pattern, [&](auto&... entry) { return number(entry...); });
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
  template <class T, class Number>
  void read_pattern(const std::string& name, std::vector<PatternEntry<T>>& entries, Number number_of) const {
    const Json value = field(name);
    if (!value.is_null() && !value.is_object())
      refuse(name, " is ", shortened(value), ", expected {regular expression: number}");
    for (const auto& [key, number] : value.items()) {
      const T read = number_of(key, number);
      naming([&] { entries.emplace_back(key, read); }, file_, ": ", name);
    }
  }
  // Reads a list of names, or a regular expression given as a single string.
  void read_names(const std::string& name, std::vector<std::string>& names, std::string& expression) const {
    const Json value = field(name);
    if (value.is_string()) expression = value.get<std::string>();
    else if (value.is_array())
      for (const Json& item : value) {
        if (!item.is_string()) refuse(name, " holds ", shortened(item), ", expected names");
        names.push_back(item.get<std::string>());
      }
    else if (!is_unset(value)) refuse(name, " is ", shortened(value), ", expected names or a regular expression");
    if (!expression.empty()) naming([&] { Pattern{expression}; }, file_, ": ", name);
  }
  void read_targets(LoraConfig& config) const {
    read_names("target_modules", config.target_modules, config.target_pattern);
    if (is_all_linear(config.target_pattern)) config.target_pattern = kAllLinear;
    if (config.target_pattern.empty() && config.target_modules.empty())
      refuse("target_modules is ", shortened(field("target_modules")),
             ", expected a list of names or a regular expression");
    read_names("exclude_modules", config.exclude_modules, config.exclude_pattern);
    std::string single;
    read_names("layers_pattern", config.layers_pattern, single);
    if (!single.empty()) config.layers_pattern = {single};
    const Json numbers = field("layers_to_transform");
    if (is_unset(numbers)) return;
    if (!config.target_pattern.empty())
      refuse("layers_to_transform is ", shortened(numbers), ", which only goes with a list in target_modules");
    for (const Json& number : numbers.is_array() ? numbers : Json::array({numbers})) {
      if (!number.is_number_unsigned() || number > 1 << 20)
        refuse("layers_to_transform is ", shortened(numbers), ", expected the numbers of layers");
      config.layers_to_transform.push_back(number);
    }
  }

  std::string file_;
  Json json_;
};

}  // namespace

LoraConfig read_peft_config(const fs::path& file) { return ConfigReader(file).read(); }

void write_peft_config(const LoraConfig& c, const fs::path& file, const std::string& base_model) {
  CHECK(c.exclude_modules.empty() && c.exclude_pattern.empty() && c.layers_to_transform.empty(),
        "write_peft_config: layers must be named, not filtered");
  const auto object = [](const auto& entries) {
    Json all = Json::object();
    for (const auto& entry : entries) all[entry.expression] = entry.value;
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
