// LLaVA-NeXT and E5-V against transformers' numbers: tests/golden/llava_next and e5_v, or others of that layout.
#include "vlm/families/llava_next.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "devices.h"
#include "expect_error.h"
#include "golden.h"
#include "golden_loss.h"
#include "golden_statistics.h"
#include "lines_of_json.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "temporary_folder.h"
#include "tensor/finite.h"
#include "tensor/tensor_files.h"
#include "vlm/families/family.h"
#include "vlm/image/anyres.h"
#include "vlm/processor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const Family& llava() { return *std::ranges::find(families(), "llava_next", &Family::model_type); }

// A folder of one of the two models.
struct Golden {
  std::string name;
  fs::path file(const std::string& path) const { return golden(name) / path; }
  std::vector<json> cases() const { return lines_of_json(file("cases.jsonl")); }
  EncoderInput input(const json& c) const {
    EncoderInput input{c.at("text"), {}};
    if (c.contains("image")) input.images.push_back(file(c["image"]));
    return input;
  }
  std::vector<EncoderInput> inputs(const json& names) const {
    const std::vector<json> all = cases();
    std::vector<EncoderInput> some;
    for (const json& name : names)
      some.push_back(input(*std::ranges::find_if(all, [&](const json& c) { return c["name"] == name; })));
    return some;
  }
  std::unique_ptr<Encoder> model(const json& c = {}, EncoderOptions options = {}) const {
    if (c.contains("pre_resize_width_height"))
      options.image_resolution = c["pre_resize_width_height"][0] == 1344 ? "high" : "low";
    return load_encoder(file("model"), options);
  }
};

class LlavaNextGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    NEEDS_GOLDEN(GetParam())
    NEEDS_GOLDEN("backbone_images")
  }
  const Golden golden_{GetParam()};
};
std::vector<const char*> models() {
  if (golden_is_ours()) return {"llava_next"};  // three cases of it
  return {"llava_next", "e5_v"};
}
INSTANTIATE_TEST_SUITE_P(, LlavaNextGolden, testing::ValuesIn(models()),
                         [](const auto& test) { return std::string(test.param); });

double limit_of(const std::string& stage) {
  return stage == "embedding" ? 1e-5 : stage.starts_with("hidden") ? 2e-4 : 5e-5;
}

// The rows `index` of each slice of x, which has as many rows in all as there are norms.
Tensor rows_of_slices(const Tensor& x, const Tensor& index, int64_t slices) {
  std::vector<int64_t> rows;
  const int64_t height = x.numel() / x.columns() / slices;
  for (int64_t slice = 0; slice < slices; ++slice)
    for (const int64_t row : to_vector<int64_t>(index)) rows.push_back(slice * height + row);
  return select(x.view({-1, x.columns()}), from_vector(rows, {int64_t(rows.size())}));
}

void check_stages(const std::map<std::string, Tensor>& stages, const NamedTensors& expected) {
  for (const auto& [key, reference] : expected) {
    SCOPED_TRACE(key);
    const std::string end = key.substr(key.rfind('.') + 1), base = key.substr(0, key.rfind('.'));
    if (key == "input_ids") {
      EXPECT_EQ(to_vector<int64_t>(stages.at(key)), to_vector<int64_t>(reference));
    } else if (key == "embedding_bf16" || end == "row_index") {
      continue;
    } else if (base == "pixel_values") {
      const double d = distance(pixel_statistic(stages.at(base), end, 12, 5), reference);
      if (end == "sample") expect_within(base, d, 3e-7);
      else EXPECT_LE(d, 1e-5);
    } else if (end == "rows" || end == "norms") {
      const std::string stage = stage_of(base);
      const Tensor& x = stages.at(stage);
      const Tensor index = expected.at(base + ".row_index");
      const int64_t slices = reference.shape().size() == (end == "rows" ? 3 : 2) ? reference.dim(0) : 1;
      if (end == "rows") expect_within(stage, distance(rows_of_slices(x, index, slices), reference), limit_of(stage));
      else EXPECT_LE(distance(row_norms(x), reference), 4 * limit_of(stage));
    } else {
      expect_within(stage_of(key), distance(stages.at(stage_of(key)), reference), limit_of(stage_of(key)));
    }
  }
}

TEST_P(LlavaNextGolden, every_stage) {
  int pictured = 0;
  for (const json& c : golden_.cases()) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    if (c.contains("official_error")) continue;
    const auto encoder = golden_.model(c);
    const EncoderInput input = golden_.input(c);
    const NamedTensors expected = load_safetensors(golden_.file(c.at("file")));
    std::map<std::string, Tensor> stages;
    for (const Stage& stage : stages_of(*encoder, input).list) {
      EXPECT_FALSE(stage.note.text.empty());
      stages.emplace(stage.name, stage.value);
    }
    check_stages(stages, expected);
    EXPECT_LE(distance(embed(*encoder, {&input, 1}, 1), stages.at("embedding")), 0) << "without a trace";
    const auto narrow = golden_.model(c, {.bf16 = true});
    EXPECT_GE(cosine(embed(*narrow, {&input, 1}, 1), expected.at("embedding")), 0.999);
    if (input.images.empty()) continue;
    ++pictured;
    const Grid grid = encoder->processor.rule().grid_of(*encoder->processor.picture(input, input.images[0]));
    EXPECT_EQ(grid.t, c.at("tiles"));
    EXPECT_EQ(json({grid.tile_rows * 336, grid.tile_columns * 336}), c.at("best_resolution"));
    EXPECT_EQ(encoder->processor.rule().tokens_of(grid), c.at("num_image_tokens"));
  }
  EXPECT_GE(pictured, 1);
}

TEST_P(LlavaNextGolden, a_text_on_devices) {
  for (const Device device : kernel_devices())
    for (const json& c : golden_.cases()) {
      if (c.contains("image") || c.at("length") > 40) continue;
      const auto encoder = golden_.model(c, {.device = device});
      const EncoderInput input = golden_.input(c);
      const NamedTensors expected = load_safetensors(golden_.file(c.at("file")));
      EXPECT_LE(distance(embed(*encoder, {&input, 1}, 1), expected.at("embedding")), 1e-5) << name_of(device);
    }
}

TEST_P(LlavaNextGolden, rows_in_a_batch_have_the_bits_that_they_have_alone) {
  std::vector<EncoderInput> rows;
  for (const json& c : golden_.cases())
    if (!c.contains("pre_resize_width_height") && c.value("tiles", 0) < 4) rows.push_back(golden_.input(c));
  const auto encoder = golden_.model();
  EXPECT_EQ(to_vector<float>(embed(*encoder, rows, 64)), to_vector<float>(embed(*encoder, rows, 1)));
}

TEST_P(LlavaNextGolden, a_processor_with_other_patches_is_refused) {
  const TemporaryFolder folder("patches");
  fs::copy(golden_.file("model"), folder.path());
  json processor = read_json(folder / "processor_config.json");
  const int own = processor.at("patch_size");
  processor["patch_size"] = own + 2;
  fs::permissions(folder / "processor_config.json", fs::perms::owner_all);
  write_json(folder / "processor_config.json", processor);
  expect_error(Exit::data, "processor_config.json: patch_size is " + std::to_string(own + 2) + ", in ",
               [&] { load_encoder(folder.path()); });
}

// transformers 4.52 wrote other names, and AutoModel others again; all give the same bits.
TEST_P(LlavaNextGolden, checkpoints_of_every_spelling) {
  const EncoderInput text = golden_.input(golden_.cases()[0]);
  const auto vector_of = [&](const std::vector<std::pair<std::string, std::string>>& spelling) {
    const TemporaryFolder folder("spelling");
    fs::copy(golden_.file("model"), folder.path());
    fs::permissions(folder / "model.safetensors", fs::perms::owner_all);
    NamedTensors renamed;
    for (const auto& [name, tensor] : load_safetensors(golden_.file("model/model.safetensors"))) {
      std::string other = name;
      for (const auto& [from, to] : spelling)
        if (other.starts_with(from)) {
          other.replace(0, from.size(), to);
          break;
        }
      renamed[other] = tensor;
    }
    fs::remove(folder / "model.safetensors");
    save_safetensors(folder / "model.safetensors", renamed);
    return to_vector<float>(embed(*load_encoder(folder.path()), {&text, 1}, 1));
  };
  const auto official = vector_of({});
  EXPECT_EQ(vector_of({{"language_model.model.", "model.language_model."},
                       {"language_model.lm_head.", "lm_head."},
                       {"vision_tower.", "model.vision_tower."},
                       {"multi_modal", "model.multi_modal"},
                       {"image_newline", "model.image_newline"}}),
            official);
  EXPECT_EQ(vector_of({{"language_model.model.", "language_model."},
                       {"language_model.lm_head.", "lm_head."},
                       {"vision_tower.vision_model.", "vision_tower."}}),
            official);
}

TEST(LlavaNext, a_window_hides_the_first_of_more_tokens) {
  NEEDS_GOLDEN("llava_next")
  const Golden data{"llava_next"};
  const EncoderInput text = data.input(data.cases()[0]);
  const TemporaryFolder folder("window");
  fs::copy(data.file("model"), folder.path());
  json config = read_json(folder / "config.json");
  fs::remove(folder / "config.json");
  const auto vector_with = [&](const json& window) {
    config["text_config"]["sliding_window"] = window;
    write_json(folder / "config.json", config);
    return to_vector<float>(embed(*load_encoder(folder.path()), {&text, 1}, 1));
  };
  const int64_t tokens = data.cases()[0].at("length");
  const auto whole = vector_with(nullptr);
  EXPECT_EQ(vector_with(tokens), whole);
  EXPECT_NE(vector_with(tokens - 1), whole);
  expect_error(Exit::data, "sliding_window is 0", [&] { vector_with(0); });
}

TEST(LlavaNext, configurations_that_are_not_understood_are_refused) {
  const auto refused = [](const char* part, const json& patch, const std::string& sentence) {
    json config = llava().tiny_config(16);
    config[part].merge_patch(patch);
    expect_error(Exit::data, sentence, [&] { llava().make(json::parse(config.dump())); });  // as from a file
  };
  refused("text_config", {{"model_type", "gemma"}}, "model_type of text_config is \"gemma\", expected mistral or llama");
  refused("text_config", {{"rope_scaling", {{"factor", 2.5}}}}, "must have no factor");
  refused("text_config", {{"rope_parameters", {{"rope_type", "yarn"}}}}, "is of type \"yarn\" (rope_parameters)");
  refused("text_config", {{"mlp_bias", true}}, "attention_bias and mlp_bias of text_config must be false");
  refused("vision_config", {{"model_type", "siglip_vision_model"}}, "is \"siglip_vision_model\", expected clip");
}

// The prompts of E5-V's code; the spaces at their ends belong to them.
TEST(LlavaNext, prompts_of_e5_v) {
  const auto asked = [](const PromptParts& parts, const char* style = "e5-v") {
    const std::string text = prompt_style(llava().prompts, style).build(parts, "<image>").text;
    const std::string before = "<|start_header_id|>user<|end_header_id|>\n\n",
                      after = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n";
    EXPECT_TRUE(text.starts_with(before) && text.ends_with(after)) << text;
    return text.substr(before.size(), text.size() - before.size() - after.size());
  };
  EXPECT_EQ(asked({"", "A cat and a dog", 0}), "A cat and a dog\nSummary above sentence in one word: ");
  EXPECT_EQ(asked({"", "two\nlines\n", 0}), "two\nlines\n\nSummary above sentence in one word: ");
  EXPECT_EQ(asked({"", "", 1}), "<image>\nSummary above image in one word: ");
  EXPECT_EQ(asked({"", "<|image_1|>\n", 1}), "<image>\nSummary above image in one word: ");
  EXPECT_EQ(asked({"", "<image>\nmake it blue\n", 1}),
            "<image>Modify this image with \"make it blue\", desribe modified image in one word:");
  EXPECT_EQ(asked({"", "", 1}, "e5-v-cir"), "<image>\n Describe this image in one word:");
  EXPECT_EQ(asked({"", "blue", 1}, "e5-v-cir"), asked({"", "blue", 1}));
  EXPECT_EQ(asked({"", "", 1}, "e5-v-dress"), "<image>\n Describe this dress in one word based on its style:");
  EXPECT_EQ(asked({"", "is blue, has no sleeves", 1}, "e5-v-dress"),
            "<image> change the style of this dress to is blue, has no sleeves\n Desribe this modified dress in one word "
            "based on its style:");
  EXPECT_EQ(asked({"", "", 1}, "e5-v-shirt"), "<image>\n Describe this shirt in one word based on its style:");
  EXPECT_EQ(asked({"", "red", 1}, "e5-v-shirt"),
            "<image> change the style of this shirt to red\n Desribe this modified shirt in one word based on its style:");
  // Blanks of a caption stay, as in the official code; those around MMEB's token go.
  EXPECT_EQ(asked({"", " blue ", 1}), "<image>Modify this image with \" blue \", desribe modified image in one word:");
  EXPECT_EQ(asked({"", "<|image_1|>\n blue ", 1}), asked({"", "blue", 1}));
  expect_error(Exit::data, "has an instruction, but E5-V's prompts have none", [&] { asked({"Do", "x", 0}); });
  expect_error(Exit::data, "has 2 pictures, but E5-V's prompts have one at most", [&] { asked({"", "x", 2}); });
}

// MMEB's instruction is left out, and the row's own words stay.
TEST(LlavaNext, evaluation_in_the_prompts_of_e5_v) {
  const TemporaryFolder folder("evaluation");
  write_png(folder / "a.png", Image(8, 8, 3));
  EvaluationSet set;
  set.query_form = "<|image_1|>\nAnswer the question: {question}\n", set.target_form = "{answer}";
  set.number(Side("<|image_1|>\nAnswer the question: what is it?\n", "a.png"), 0);
  set.number(Side("a car"), 0, 0);
  const PromptStyle& style = prompt_style(llava().prompts, "e5-v");
  set.style = &style;
  const auto inputs = encoder_inputs(set, "<image>", Pictures(folder.path()));
  for (const auto& [i, parts] : {std::pair(0, PromptParts{"", "what is it?", 1}), {1, PromptParts{"", "a car", 0}}}) {
    EXPECT_EQ(inputs[size_t(i)].text, style.build(parts, "<image>").text);
    EXPECT_EQ(inputs[size_t(i)].images.size(), parts.pictures);
  }
  set.style = nullptr;
  EXPECT_EQ(encoder_inputs(set, "<image>", Pictures(folder.path()))[0].text,
            "<image>\nAnswer the question: what is it?\n");
}

TEST(LlavaNext, mistral_without_a_sliding_window_has_the_default_one) {
  const TemporaryFolder folder("window");
  json config = llava().tiny_config(16);
  const auto window_of = [&] {
    write_text(folder / "config.json", config.dump());
    return dynamic_cast<const LlavaNext&>(*make_backbone(folder / "config.json")).config().text.window;
  };
  EXPECT_EQ(window_of(), 20);
  config["text_config"]["sliding_window"] = nullptr;
  EXPECT_EQ(window_of(), 0);
  config["text_config"].erase("sliding_window");
  EXPECT_EQ(window_of(), 4096);  // of transformers' MistralConfig
}

TEST(LlavaNextGoldenFiles, canvases_and_numbers_of_tokens) {
  NEEDS_GOLDEN("llava_next")
  const auto settings = read_processor_settings(golden("llava_next/model/preprocessor_config.json"), llava());
  auto& rule = dynamic_cast<AnyRes&>(*settings.rule);
  rule.patch_size = 14;
  int compared = 0;
  for (const json& row : lines_of_json(golden("llava_next/anyres_sizes.jsonl"))) {
    SCOPED_TRACE(row.dump());
    const Size source{row.at("width"), row.at("height")}, canvas = rule.canvas_of(source);
    EXPECT_EQ(json({canvas.height, canvas.width}), row.at("best_height_width"));
    if (!row.contains("num_image_tokens")) continue;
    Image image(canvas.width, canvas.height + 336, 3);
    image.source = source;
    EXPECT_EQ(rule.tokens_of(rule.grid_of(image)), row["num_image_tokens"]);
    ++compared;
  }
  EXPECT_GE(compared, 10);
}

TEST(LlavaNextGoldenFiles, adapters_of_both_spellings) {
  if (golden_is_ours()) GTEST_SKIP() << "tests/golden has no adapters of this family";
  NEEDS_GOLDEN("llava_next")
  const Golden data{"llava_next"};
  const NamedTensors expected = load_safetensors(data.file("adapters/expected.safetensors"));
  const json adapters = read_json(data.file("adapters/adapters.json"));
  for (const auto& [name, facts] : adapters.items())
    for (const bool newer : {false, true}) {
      SCOPED_TRACE(name + (newer ? " in the newer spelling" : ""));
      const TemporaryFolder folder("adapter");
      fs::copy_file(data.file("adapters/" + name + "/adapter_config.json"), folder / "adapter_config.json");
      NamedTensors tensors;
      for (const auto& [path, tensor] :
           load_safetensors(data.file("adapters/" + name + "/adapter_model.safetensors"))) {
        const std::string bare = path.substr(kPeftPrefix.size());
        tensors[newer ? std::string(kPeftPrefix) + nested_name(bare, data.model()->backbone->names()) : path] = tensor;
      }
      save_safetensors(folder / "adapter_model.safetensors", tensors);
      const auto encoder = data.model();
      std::vector<std::string> notes;
      const AttachedLora lora = load_adapter(*encoder->backbone, folder.path(), {}, nullptr, notes);
      EXPECT_EQ(lora.adapters.size(), size_t(facts.at("tensors")) / (name == "lora" ? 2 : 3)) << "A, B, and DoRA's m";
      size_t merged = 0;
      for (const Lora* adapter : lora.adapters)
        if (const auto found = expected.find(name + "/merged/" + adapter->base.path() + ".weight");
            found != expected.end()) {
          EXPECT_LE(distance(adapter->merged().rows(0, found->second.rows()), found->second), 1e-6) << found->first;
          ++merged;
        }
      EXPECT_EQ(merged, 9u);
      for (const json& c : facts.at("cases")) {
        if (newer && c != facts["cases"][0]) continue;
        const EncoderInput input = data.inputs({c})[0];
        EXPECT_LE(
            distance(embed(*encoder, {&input, 1}, 1), expected.at(name + "/" + c.get<std::string>() + "/embedding")),
            1e-5)
            << c;
      }
    }
}

void check_loss(const std::string& adapter) {
  const Golden data{"llava_next"};
  const GoldenLoss golden(data.file(""), 4e-4, adapter);
  const auto queries = data.inputs(golden.all.at("queries")), targets = data.inputs(golden.all.at("targets"));
  const auto encoder = data.model();
  AttachedLora lora;
  std::vector<std::string> notes;
  if (!adapter.empty())
    lora = load_adapter(*encoder->backbone, data.file("adapters/" + adapter), {}, &encoder->backbone->dropout, notes);
  golden.compare_embeddings(*encoder, queries, targets, {1e-5, 2e-4, 2e-5, 5e-4});
  const auto trained = adapter.empty() ? encoder->backbone->parameters() : lora.parameters();
  golden.compare_step(*encoder, trained, queries, targets, 1, 2e-4);
}

TEST(LlavaNextGoldenFiles, loss_and_gradients) {
  if (golden_is_ours()) GTEST_SKIP() << "tests/golden has no loss of this family";
  NEEDS_GOLDEN("llava_next")
  check_loss("");
}
TEST(LlavaNextGoldenFiles, loss_and_gradients_of_adapters) {
  if (golden_is_ours()) GTEST_SKIP() << "tests/golden has no loss of this family";
  NEEDS_GOLDEN("llava_next")
  check_loss("lora");
  check_loss("dora");
}

}  // namespace
}  // namespace vlm2vec
