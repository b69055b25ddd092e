// PEFT folders: there and back, what is refused, which modules match, and the folders of the reference.
#include "nn/peft.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "damage.h"
#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "nn/dora.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Model : Module {
  struct Layer : Module {
    Layer(Module* parent, std::string name)
        : Module(parent, std::move(name)), q_proj{this, "q_proj", 6, 4, true}, o_proj{this, "o_proj", 4, 6, false} {}
    Linear q_proj, o_proj;
  };
  struct Text : Module {
    explicit Text(Module* parent) : Module(parent, "model") {}
    ModuleList<Layer> layers{this, "layers", 2};
  };
  Text model{this};
  const TensorNames& names() const override { return qwen_names(); }
  explicit Model(DType dtype = DType::f64) { initialise(*this, 0.5, 1, dtype, Device::cpu); }
};

std::vector<double> output(Model& model) {
  const Var x(normal_tensor({5, 6}, 1, 9, DType::f64, Device::cpu));
  Var y = x;
  for (size_t i = 0; i < 2; ++i) y = y + model.model.layers[i].o_proj(model.model.layers[i].q_proj(y));
  return to_vector<double>(y.value());
}

const std::string kFirst = "base_model.model.model.layers.0.q_proj.";

class Peft : public testing::Test {
 protected:
  // Writes an adapter on three layers of a model whose output is output_.
  void write(bool dora) {
    Model model;
    LoraConfig config{3, 12, 0.1, {"q_proj", "layers.1.o_proj", "gate_proj"}, dora};
    config.alpha_pattern = {{"o_proj", 6}};
    const AttachedLora lora = attach_lora(model, config, nullptr);
    EXPECT_EQ(lora.unmatched_note(), "adapter: no layer is named gate_proj; ignored");
    uint64_t seed = 20;
    for (Parameter* p : lora.parameters()) p->set(normal_tensor(p->shape(), 1, ++seed, DType::f64, Device::cpu));
    lora.update();
    save_adapter(lora, folder_.path(), "the/base", Spelling::official);
    output_ = output(model);
  }
  AttachedLora load(Model& model, const AdapterOptions& options = {}) {
    notes_.clear();
    return load_adapter(model, folder_.path(), options, nullptr, notes_);
  }
  void load() {
    Model model;
    load(model);
  }
  json config() { return read_json(config_file_); }

  const TemporaryFolder folder_{"peft"};
  const fs::path config_file_ = folder_ / "adapter_config.json", weights_ = folder_ / "adapter_model.safetensors";
  std::vector<std::string> notes_;
  std::string warning_;
  std::vector<double> output_;
};

TEST_F(Peft, goes_to_a_folder_and_back) {
  for (const bool dora : {false, true}) {
    write(dora);
    EXPECT_EQ(config().at("r"), 3);
    EXPECT_EQ(config().at("lora_alpha"), 12);
    EXPECT_EQ(config().at("use_dora"), dora);
    EXPECT_EQ(config().at("alpha_pattern").at("o_proj"), 6);
    EXPECT_EQ(config().at("base_model_name_or_path"), "the/base");
    const NamedTensors stored = load_safetensors(weights_);
    EXPECT_EQ(stored.size(), dora ? 9u : 6u);
    EXPECT_TRUE(stored.contains(kFirst + "lora_A.weight"));
    EXPECT_EQ(stored.contains(kFirst + "lora_magnitude_vector"), dora);
    Model model;
    const AttachedLora read = load(model, {.norms = true});
    EXPECT_EQ(read.config.dropout, 0.1);
    EXPECT_EQ(output(model), output_);
    ASSERT_EQ(notes_.size(), 4u);
    EXPECT_EQ(notes_[0], "adapter: 3 of 3 modules matched");
    EXPECT_EQ(notes_[1], sentence("adapter: model.layers.0.q_proj: rank 3, |sBA| ", read.adapters[0]->delta_norm()));
  }
}

TEST_F(Peft, reads_both_spellings) {
  write(true);
  NamedTensors stored = load_safetensors(weights_), renamed;
  for (const auto& [name, tensor] : stored) {
    std::string other = "base_model.model.model.language_model." + name.substr(23);
    if (name.ends_with("magnitude_vector")) other += ".weight";
    renamed.emplace(other, tensor);
  }
  save_safetensors(weights_, renamed);
  json changed = config();
  changed["target_modules"] = R"(model\.language_model\.layers\.(\d\.q|1\.o)_proj)";
  write_json(config_file_, changed);
  Model model;
  const AttachedLora lora = load(model);
  EXPECT_EQ(output(model), output_);
  save_adapter(lora, folder_.path(), "", Spelling::official);
  Model again;
  load(again);
  EXPECT_EQ(output(again), output_);

  renamed.emplace(kFirst + "lora_A.weight", stored.at(kFirst + "lora_A.weight"));
  save_safetensors(weights_, renamed);
  expect_error(Exit::data, "model.layers.0.q_proj.lora_A.weight is stored twice, in two spellings", [&] { load(); });
}

TEST_F(Peft, reads_dora_as_lora_when_asked) {
  write(true);
  Model model;
  const AttachedLora lora = load(model, {.use_dora = false});
  EXPECT_EQ(lora.parameters().size(), 6u);
  EXPECT_FALSE(lora.config.use_dora);
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_NE(notes_[0].find("DoRA adapter read as LoRA, its magnitude vectors are dropped"), std::string::npos);
  EXPECT_NE(output(model), output_);
}

TEST_F(Peft, refuses_configurations_it_would_get_wrong) {
  write(false);
  const json whole = config();
  const auto expect_refusal = [&](const std::string& sentence, const json& patch) {
    json changed = whole;
    changed.merge_patch(patch);
    write_json(config_file_, changed);
    expect_error(Exit::data, config_file_.string() + ": " + sentence, [&] { load(); });
  };
  expect_refusal("peft_type is \"IA3\", expected \"LORA\"", {{"peft_type", "IA3"}});
  expect_refusal("fan_in_fan_out is true, which this program does not know", {{"fan_in_fan_out", true}});
  expect_refusal("lora_bias is true, which", {{"lora_bias", true}});
  expect_refusal("modules_to_save is [\"lm_head\"], which", {{"modules_to_save", {"lm_head"}}});
  expect_refusal("trainable_token_indices is [3], which", {{"trainable_token_indices", {3}}});
  expect_refusal("target_parameters is [\"mlp\"], which", {{"target_parameters", {"mlp"}}});
  expect_refusal("layer_replication is [[0,1]], which", {{"layer_replication", {{0, 1}}}});
  expect_refusal("exclude_modules is 3, expected names or a regular", {{"exclude_modules", 3}});
  expect_refusal("exclude_modules: not a regular expression", {{"exclude_modules", "a)"}});
  expect_refusal("layers_to_transform is \"1\", expected the numbers of layers", {{"layers_to_transform", "1"}});
  expect_refusal("layers_to_transform is [-1], expected the numbers", {{"layers_to_transform", {-1}}});
  expect_refusal("layers_to_transform is 1, which only goes with a list in target_modules",
                 {{"layers_to_transform", 1}, {"target_modules", ".*_proj"}});
  expect_refusal("use_of_tomorrow is 0.5, which", {{"use_of_tomorrow", 0.5}});
  expect_refusal("init_lora_weights is \"pissa\", which changes the base", {{"init_lora_weights", "pissa"}});
  expect_refusal("bias is \"all\", expected \"none\"", {{"bias", "all"}});
  expect_refusal("target_modules is null, expected a list of names or a regular", {{"target_modules", nullptr}});
  expect_refusal("target_modules holds 3, expected names", {{"target_modules", {3}}});
  expect_refusal("target_modules: not a regular expression at character", {{"target_modules", "a)"}});
  expect_refusal("rank_pattern: not a regular expression", {{"rank_pattern", {{"(", 3}}}});
  expect_refusal("rank_pattern is 3, expected {", {{"rank_pattern", 3}});
  expect_refusal("r is 0, expected at least 1", {{"r", 0}});
  expect_refusal("r is 2.5, expected at least 1", {{"r", 2.5}});
  expect_refusal("r is null, expected a number", {{"r", nullptr}});
  expect_refusal("lora_dropout is 1, expected from 0", {{"lora_dropout", 1}});
  expect_refusal("use_dora is \"yes\", expected true or false", {{"use_dora", "yes"}});
  json harmless = whole;
  harmless["layer_replication"] = nullptr, harmless["loftq_config"] = json::object(), harmless["revision"] = "main";
  write_json(config_file_, harmless);
  load();
}

TEST_F(Peft, refuses_files_that_do_not_fit) {
  write(false);
  const NamedTensors whole = load_safetensors(weights_);
  const auto expect_refusal = [&](const std::string& sentence, auto change) {
    NamedTensors changed = whole;
    change(changed);
    save_safetensors(weights_, changed);
    expect_error(Exit::data, sentence, [&] { load(); });
    save_safetensors(weights_, whole);
  };
  const Tensor vector = normal_tensor({4}, 1, 1, DType::f32, Device::cpu);
  expect_refusal("model.layers.0.q_proj has no lora_A", [](auto& t) { t.erase(kFirst + "lora_A.weight"); });
  expect_refusal("model.layers.0.q_proj has a lora_magnitude_vector, but adapter_config.json does not say use_dora",
                 [&](auto& t) { t.emplace(kFirst + "lora_magnitude_vector", vector); });
  expect_refusal("lm_head.weight is not a LoRA tensor",
                 [&](auto& t) { t.emplace("base_model.model.lm_head.weight", vector); });
  expect_refusal("embed_tokens.lora_embedding_A is not a LoRA tensor of a linear layer",
                 [&](auto& t) { t.emplace("base_model.model.model.embed_tokens.lora_embedding_A", vector); });
  expect_refusal("model.layers.0.q_proj.lora_A.weight is f64[3, 7], this model needs [3, 6]", [](auto& t) {
    t.at(kFirst + "lora_A.weight") = normal_tensor({3, 7}, 1, 1, DType::f64, Device::cpu);
  });
  expect_refusal("expected floats", [](auto& t) {
    t.at(kFirst + "lora_A.weight") = from_vector(std::vector<int64_t>(18), {3, 6});
  });
  json dora = config();
  dora["use_dora"] = true;
  write_json(config_file_, dora);
  expect_error("model.layers.0.q_proj has no lora_magnitude_vector", [&] { load(); });
  fs::remove(weights_);
  expect_error(Exit::data, "has neither adapter_model.safetensors nor adapter_model.bin", [&] { load(); });
}

TEST_F(Peft, takes_partial_matches_only_when_allowed) {
  write(false);
  const NamedTensors whole = load_safetensors(weights_);
  const auto with = [&](const AdapterOptions& options) {
    Model model;
    const AttachedLora lora = load(model, options);
    warning_ = lora.warning;
    return lora.adapters.size();
  };
  NamedTensors more = whole, less;
  for (const char* part : {"lora_A.weight", "lora_B.weight"})
    more.emplace(std::string("base_model.model.model.layers.7.q_proj.") + part, whole.at(kFirst + part));
  save_safetensors(weights_, more);
  expect_error(Exit::data,
               ": 3 of 4 modules matched; no layer of this model that target_modules names is "
               "model.layers.7.q_proj; is it the adapter's base model? (--allow_partial_adapter",
               [&] { with({}); });
  EXPECT_EQ(with({.allow_partial = true}), 3u);
  EXPECT_TRUE(notes_.empty());
  EXPECT_EQ(warning_,
            "adapter: 3 of 4 modules matched; no layer of this model that target_modules names is "
            "model.layers.7.q_proj; ignored");
  for (const auto& [name, tensor] : whole)
    if (!name.starts_with(kFirst)) less.emplace(name, tensor);
  save_safetensors(weights_, less);
  expect_error(Exit::data, ": 2 of 2 modules matched; target_modules names model.layers.0.q_proj, which the file",
               [&] { with({}); });
  EXPECT_EQ(with({.allow_partial = true}), 2u);
  save_safetensors(weights_, NamedTensors());
  expect_error(Exit::data, "has no tensor of an adapter", [&] { with({.allow_partial = true}); });
}

// An adapter of which nothing fits would leave the base's vectors, so no option takes it, and none is recommended.
TEST_F(Peft, refuses_an_adapter_of_which_nothing_fits) {
  write(false);
  NamedTensors foreign;
  for (const auto& [name, tensor] : load_safetensors(weights_))
    foreign.emplace("base_model.model.model.decoder." + name.substr(23), tensor);
  save_safetensors(weights_, foreign);
  for (const bool allowed : {false, true}) {
    Model model;
    try {
      load(model, {.allow_partial = allowed});
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(e.code, Exit::data);
      EXPECT_NE(what.find("0 of 3 modules matched"), std::string::npos) << what;
      EXPECT_EQ(what.find("allow_partial"), std::string::npos) << what;
    }
  }
}

TEST_F(Peft, notes_patterns_that_fit_no_layer) {
  write(false);
  json changed = config();
  changed["rank_pattern"] = {{"layers.9.q_proj", 5}}, changed["alpha_pattern"]["^q_proj"] = 100;
  changed["exclude_modules"] = {"layers.8.q_proj"}, changed["layers_pattern"] = "layers";
  write_json(config_file_, changed);
  Model model;
  load(model);
  EXPECT_EQ(output(model), output_);
  const std::string file = config_file_;
  EXPECT_EQ(notes_, (std::vector<std::string>{
                        "adapter: 3 of 3 modules matched",
                        file + ": rank_pattern \"layers.9.q_proj\" fits no layer of the adapter; ignored",
                        file + ": alpha_pattern \"^q_proj\" fits no layer of the adapter; ignored",
                        file + ": exclude_modules \"layers.8.q_proj\" fits no layer of the model; ignored",
                        file + ": layers_pattern has no effect without layers_to_transform; ignored"}));
}

TEST_F(Peft, says_which_of_the_two_files_is_wrong) {
  write(false);
  json changed = config();
  changed["r"] = 5;
  write_json(config_file_, changed);
  expect_error(Exit::data,
               "model.layers.0.q_proj.lora_A.weight has rank 3, adapter_config.json gives it 5 (r or rank_pattern); do",
               [&] { load(); });
  changed["r"] = 3, changed["exclude_modules"] = {"layers.0.q_proj"};
  write_json(config_file_, changed);
  expect_error(Exit::data, "is model.layers.0.q_proj; do adapter_config.json and the tensors belong together?",
               [&] { load(); });
}

TEST_F(Peft, leaves_out_the_adapter_of_the_head) {
  write(false);
  NamedTensors tensors = load_safetensors(weights_);
  for (const char* part : {"lora_A.weight", "lora_B.weight"})
    tensors.emplace(std::string("base_model.model.lm_head.") + part, tensors.at(kFirst + part));
  save_safetensors(weights_, tensors);
  Model model;
  EXPECT_EQ(load(model).adapters.size(), 3u);
  EXPECT_EQ(output(model), output_);
  EXPECT_NE(notes_[0].find("the adapter of the language-model head is not used"), std::string::npos) << notes_[0];
}

TEST_F(Peft, refuses_damaged_files) {
  write(true);
  for (const fs::path& file : {config_file_, weights_}) {
    const std::string whole = read_text(file);
    const Damage counts = damage(whole, 5, [&](const std::string& bytes) {
      write_text(file, bytes, Sync::later);
      load();
    });
    EXPECT_GE(counts.refused, 50) << file;
    EXPECT_GT(counts.read, 0) << file;
    write_text(file, whole);
  }
}

TEST(PeftGolden, the_pickle_is_the_safetensors_file) {
  NEEDS_GOLDEN("qwen2_vl")
  const fs::path folder = golden("qwen2_vl/training/dora");
  const NamedTensors pickled = load_torch_file(folder / "final_bin/adapter_model.bin"),
                     stored = load_safetensors(folder / "final/adapter_model.safetensors");
  ASSERT_EQ(pickled.size(), 42u);
  ASSERT_EQ(stored.size(), 42u);
  for (const auto& [name, tensor] : stored) {
    ASSERT_TRUE(pickled.contains(name)) << name;
    EXPECT_EQ(pickled.at(name).dtype(), tensor.dtype());
    EXPECT_EQ(pickled.at(name).shape(), tensor.shape());
    EXPECT_EQ(to_vector<float>(pickled.at(name)), to_vector<float>(tensor)) << name;
  }
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"));
  std::vector<std::string> notes;
  EXPECT_EQ(load_adapter(*encoder->backbone, folder / "final_bin", {}, nullptr, notes).adapters.size(), 14u);
  EXPECT_EQ(notes, std::vector<std::string>{"adapter: 14 of 14 modules matched"});
}

TEST(PeftGolden, merged_weights) {
  NEEDS_GOLDEN("qwen2_vl")
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"));
  std::vector<std::string> notes;
  const AttachedLora lora = load_adapter(*encoder->backbone, golden("qwen2_vl/training/dora/final"), {}, nullptr, notes);
  const NamedTensors theirs = load_safetensors(golden("qwen2_vl/training/dora/merged.safetensors"));
  int compared = 0;
  for (const Lora* adapter : lora.adapters) {
    const auto found = theirs.find(adapter->base.weight.path());
    if (found == theirs.end()) continue;
    const auto a = to_vector<float>(adapter->merged()), b = to_vector<float>(found->second);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-6) << found->first << " " << i;
    ++compared;
  }
  EXPECT_EQ(compared, 2);
}

}  // namespace
}  // namespace vlm2vec
