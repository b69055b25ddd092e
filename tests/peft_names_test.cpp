// How PEFT's folders call the layers, and which layers they choose: every spelling is read, alone and mixed, and what
// is written is read alike by PEFT's own rules.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Named as Qwen2-VL is, with two layers each of text and pictures.
struct SmallModel : Module {
  struct Layer : Module {
    Layer(Module* parent, std::string name)
        : Module(parent, std::move(name)),
          q_proj{this, "self_attn.q_proj", 4, 4, true},
          fc1{this, "mlp.fc1", 4, 4, true} {}
    Linear q_proj, fc1;
  };
  struct Stack : Module {
    Stack(Module* parent, std::string name, std::string list)
        : Module(parent, std::move(name)), layers{this, std::move(list), 2} {}
    ModuleList<Layer> layers;
  };
  Stack model{this, "model", "layers"}, visual{this, "visual", "blocks"};
  const TensorNames& names() const override { return qwen_names(); }
  SmallModel() { initialise(*this, 0.5, 1, DType::f64, Device::cpu); }
  std::vector<double> output() {
    Var y(normal_tensor({3, 4}, 1, 9, DType::f64, Device::cpu));
    for (Stack* stack : {&visual, &model})
      for (size_t i = 0; i < 2; ++i) y = y + stack->layers[i].fc1(stack->layers[i].q_proj(y));
    return to_vector<double>(y.value());
  }
};

const std::vector<std::string> kPaths = {"model.layers.0.self_attn.q_proj", "visual.blocks.1.mlp.fc1"};

std::string escaped(std::string path) {
  for (size_t at = 0; (at = path.find('.', at)) != path.npos; at += 2) path.insert(at, "\\");
  return path;
}

class PeftNames : public testing::Test {
 protected:
  // An adapter on kPaths, of which the second has another rank and alpha.
  void write(const LoraConfig& config, Spelling names) {
    SmallModel model;
    const AttachedLora lora = attach_lora(model, config, nullptr);
    uint64_t seed = 20;
    for (Parameter* p : lora.parameters()) p->set(normal_tensor(p->shape(), 1, ++seed, DType::f64, Device::cpu));
    lora.update();
    save_adapter(lora, folder_.path(), "base", names);
    output_ = model.output();
  }
  static LoraConfig config() {
    LoraConfig c{.rank = 2, .alpha = 6, .target_modules = kPaths};
    c.rank_pattern = {{kPaths[1], 3}}, c.alpha_pattern = {{kPaths[1], 5}};
    return c;
  }
  // Loaded, the adapter does what the one does that was written, with so many notes about entries without effect.
  void expect_same(size_t dead = 0) {
    SmallModel model;
    std::vector<std::string> notes;
    EXPECT_EQ(load_adapter(model, folder_.path(), {}, nullptr, notes).adapters.size(), 2u);
    EXPECT_EQ(model.output(), output_);
    ASSERT_EQ(notes.size(), 1 + dead);
    EXPECT_EQ(notes[0], "adapter: 2 of 2 modules matched");
    for (size_t i = 1; i < notes.size(); ++i) EXPECT_NE(notes[i].find("; ignored"), notes[i].npos) << notes[i];
  }
  std::vector<std::string> stored_names() const {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : load_safetensors(folder_ / "adapter_model.safetensors")) names.push_back(name);
    return names;
  }
  json written() { return read_json(folder_ / "adapter_config.json"); }
  const TemporaryFolder folder_{"peft-names"};
  std::vector<double> output_;
};

// Patterns and excludes are in the spelling of the targets, or dead as they are in PEFT, and said to be.
TEST_F(PeftNames, every_spelling_of_tensors_and_targets_is_read) {
  for (const Spelling tensors : kSpellings)
    for (const Spelling targets : kSpellings)
      for (const Spelling patterns : kSpellings)
        for (const char* kind : {"names", "paths", "expression"}) {
          write(config(), tensors);
          json c = written();
          const std::string first = spelled(kPaths[0], targets, qwen_names()), second = spelled(kPaths[1], targets, qwen_names());
          c["target_modules"] = {first, second};
          if (kind == std::string("names")) c["target_modules"] = {"layers.0.self_attn.q_proj", "blocks.1.mlp.fc1"};
          if (kind == std::string("expression")) c["target_modules"] = escaped(first) + "|" + escaped(second);
          // The names alone, and AutoModel's as ends of the hub's, fit in the tensors' spelling, which comes first.
          const bool ends = tensors == Spelling::hub && targets == Spelling::automodel && kind == std::string("paths");
          const Spelling means = kind == std::string("names") || ends ? tensors : targets;
          const std::string elsewhere = "^" + escaped(spelled(kPaths[0], patterns, qwen_names()));
          const bool alive = spelled(kPaths[0], patterns, qwen_names()) == spelled(kPaths[0], means, qwen_names());
          c["rank_pattern"] = {{"^" + escaped(spelled(kPaths[1], means, qwen_names())), 3}};
          c["alpha_pattern"] = {{"blocks.1.mlp.fc1", 5}, {elsewhere, alive ? 6 : 99}};
          c["exclude_modules"] = alive ? "nothing" : escaped(spelled(kPaths[0], patterns, qwen_names()));
          write_json(folder_ / "adapter_config.json", c);
          SCOPED_TRACE(
              sentence(kind, " tensors ", int(tensors), " targets ", int(targets), " patterns ", int(patterns)));
          expect_same(alive ? 1 : 2);
        }
}

TEST_F(PeftNames, hub_and_official_names_are_written) {
  write(config(), Spelling::hub);
  EXPECT_EQ(stored_names().front(), "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(stored_names().back(), "base_model.model.model.visual.blocks.1.mlp.fc1.lora_B.weight");
  write(config(), Spelling::official);
  EXPECT_EQ(stored_names().front(), "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(stored_names().back(), "base_model.model.visual.blocks.1.mlp.fc1.lora_B.weight");
  EXPECT_EQ(spelling_of("hub"), Spelling::hub);
  EXPECT_EQ(spelling_of("official"), Spelling::official);
  expect_error(Exit::usage, "--adapter_names: got \"new\", expected hub or official", [] { spelling_of("new"); });
}

// What PEFT would read otherwise under the written names becomes a list of layers.
TEST_F(PeftNames, a_configuration_is_written_so_that_peft_reads_it_alike) {
  LoraConfig plain{.rank = 2, .alpha = 6, .target_modules = {"layers.0.self_attn.q_proj", "blocks.1.mlp.fc1"}};
  plain.rank_pattern = {{".*fc1", 3}};
  write(plain, Spelling::hub);
  EXPECT_EQ(written()["target_modules"], plain.target_modules);
  EXPECT_EQ(written()["rank_pattern"], (json{{".*fc1", 3}}));
  expect_same();

  LoraConfig c = config();  // official full paths, an expression and filters
  c.alpha_pattern = {{"^visual.*", 5}};
  const std::vector<std::string> hub = {spelled(kPaths[0], Spelling::hub, qwen_names()), spelled(kPaths[1], Spelling::hub, qwen_names())};
  const auto expect_listed = [&](const LoraConfig& given) {
    write(given, Spelling::hub);
    EXPECT_EQ(written()["target_modules"], hub);
    EXPECT_EQ(written()["rank_pattern"], (json{{hub[1], 3}}));
    EXPECT_EQ(written()["alpha_pattern"], (json{{hub[1], 5}}));
    expect_same();
  };
  expect_listed(c);
  c.target_modules.clear(), c.target_pattern = R"(model\.layers\.0\..*q_proj|visual\.blocks\.1\..*fc1)";
  expect_listed(c);
  write(c, Spelling::official);
  EXPECT_EQ(written()["target_modules"], c.target_pattern);
  expect_same();
  c.target_pattern = kAllLinear,
  c.exclude_modules = {"model.layers.1.self_attn.q_proj", "visual.blocks.1.self_attn.q_proj"};
  c.exclude_modules.insert(c.exclude_modules.end(), {"model.layers.0.mlp.fc1", "model.layers.1.mlp.fc1"});
  c.exclude_modules.insert(c.exclude_modules.end(), {"blocks.0.mlp.fc1", "blocks.0.self_attn.q_proj"});
  expect_listed(c);
  EXPECT_FALSE(written().contains("exclude_modules"));
}

TEST(LoraConfig, chooses_layers_as_peft_does) {
  const auto chosen = [](const LoraConfig& c) {
    std::string all;
    for (const char* path :
         {"model.layers.0.q_proj", "model.layers.1.q_proj", "visual.blocks.1.attn.qkv", "visual.merger.mlp.0"})
      all += c.targets(path) ? '1' : '0';
    return all;
  };
  LoraConfig c;
  c.names = &qwen_names();
  c.target_modules = {"q_proj", "qkv", "0"};
  EXPECT_EQ(chosen(c), "1111");
  c.exclude_modules = {"model.language_model.layers.0.q_proj", "mlp.0"};
  EXPECT_EQ(chosen(c), "1110") << "another spelling's name is nobody's";
  c.spelling = Spelling::hub;
  EXPECT_EQ(chosen(c), "0110");
  c.spelling = Spelling::official;
  c.exclude_pattern = "visual.*";  // expressions in place of names
  EXPECT_EQ(chosen(c), "1100");
  c.spelling = Spelling::hub;  // a whole path begins with model. there
  EXPECT_EQ(chosen(c), "1111");
  c.exclude_pattern.clear(), c.exclude_modules.clear(), c.layers_to_transform = {1};
  EXPECT_EQ(chosen(c), "0110") << "a last number is a name, not that of a layer";
  c.layers_pattern = {"layers"};
  EXPECT_EQ(chosen(c), "0100");
  c.target_modules.push_back("layers.0.q_proj");
  EXPECT_EQ(chosen(c), "0100");
  c.target_modules.push_back("model.language_model.layers.0.q_proj");
  EXPECT_EQ(chosen(c), "1100") << "a whole path is meant whatever its number";
  EXPECT_TRUE(is_all_linear("All-Linear"));
  EXPECT_FALSE(is_all_linear("all"));
}

// How many patterns of the configuration fit none of these modules, which PEFT names "base_model.model.…".
size_t idle_patterns(const json& config, const json& modules) {
  size_t idle = 0;
  for (const char* kind : {"rank_pattern", "alpha_pattern"})
    for (const auto& [pattern, value] : config.at(kind).items()) {
      const std::regex fits("(.*\\.)?(" + pattern + ")");
      idle += std::none_of(modules.begin(), modules.end(),
                           [&](const json& module) { return std::regex_match(module.get<std::string>(), fits); });
    }
  return idle;
}

// PEFT's own folders (tests/interop/peft_golden.py): its choice of layers and its embeddings.
TEST(PeftGolden, layers_and_embeddings_are_pefts) {
  NEEDS_GOLDEN("peft")
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(golden("peft"))) {
    SCOPED_TRACE(entry.path().filename().string());
    const json expected = read_json(entry.path() / "expected.json");
    const auto encoder = load_encoder(golden("qwen2_vl/tiny"));
    std::vector<std::string> notes;
    const AttachedLora lora = load_adapter(*encoder->backbone, entry.path(), {}, nullptr, notes);
    std::set<std::string> ours, theirs;
    for (const Lora* adapter : lora.adapters) ours.insert(adapter->base.path());
    for (const std::string name : expected["modules"]) theirs.insert(canonical_name(name, qwen_names()));
    EXPECT_EQ(ours, theirs);
    std::vector<EncoderInput> rows;
    for (const json& row : expected["rows"]) {
      rows.push_back({row["text"], {}});
      if (row.contains("image")) rows.back().images = {golden("qwen2_vl/images") / row["image"].get<std::string>()};
    }
    const Tensor vectors = embed(*encoder, rows, 8);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto theirs_i = expected["rows"][i]["embedding"].get<std::vector<double>>();
      ASSERT_EQ(int64_t(theirs_i.size()), vectors.columns());
      for (size_t k = 0; k < theirs_i.size(); ++k)
        ASSERT_NEAR(vectors.data<float>()[i * theirs_i.size() + k], theirs_i[k], 3e-6) << rows[i].text;
    }
    EXPECT_EQ(notes.size(), 1 + idle_patterns(read_json(entry.path() / "adapter_config.json"), expected["modules"]));
    ++folders;
  }
  EXPECT_GE(folders, 1);
}

}  // namespace
}  // namespace vlm2vec
