// Phi-3.5-V against the official code's numbers: tests/golden/phi3_v, or another folder of that layout.
#include "vlm/families/phi3_v.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "devices.h"
#include "expect_error.h"
#include "golden.h"
#include "golden_loss.h"
#include "golden_statistics.h"
#include "io/files.h"
#include "io/sha256.h"
#include "io/text.h"
#include "lines_of_json.h"
#include "nn/peft.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "torch_writer.h"
#include "vlm/image/hd_transform.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

std::filesystem::path phi_file(const std::string& name) { return golden("phi3_v") / name; }

EncoderInput phi_input(const json& c) {
  EncoderInput input{c.at("text"), {}};
  if (c.contains("image")) input.images.push_back(phi_file(c["image"]));
  return input;
}

std::map<std::string, json> phi_cases() {
  std::map<std::string, json> cases;
  for (const json& c : lines_of_json(phi_file("cases.jsonl")))
    if (c.contains("file")) cases[c.at("name")] = c;
  return cases;
}

std::unique_ptr<Encoder> phi_model(const json& c = json::object(), Device device = Device::cpu, bool bf16 = false) {
  return load_encoder(phi_file("model"), {.device = device, .bf16 = bf16, .num_crops = c.value("num_crops", 0)});
}

// The rows of the recorded tiles, one tile after another; of texts all rows.
std::vector<int32_t> rows_of_tiles(const json& c, const std::string& stage, const std::vector<int64_t>& rows) {
  constexpr int32_t of_tile = 577;
  std::vector<int32_t> all;
  if (!stage.starts_with("vision")) return {rows.begin(), rows.end()};
  json tiles = c.value("vision_tiles_recorded", json());
  for (int i = 0; tiles.size() < c.at("crops").get<size_t>() && !c.contains("vision_tiles_recorded"); ++i)
    tiles.push_back(i);
  for (const int32_t tile : tiles)
    for (const int64_t row : rows) all.push_back(tile * of_tile + int32_t(row));
  return all;
}

double limit_of(const std::string& stage, const std::string& name) {
  if (stage == "image_tokens" || stage.starts_with("vision")) return 5e-5;
  return name == "text_long_rope" ? 1e-3 : 2e-4;
}

void check_case(const json& c, Device device) {
  const std::string name = c.at("name");
  SCOPED_TRACE(name);
  const auto encoder = phi_model(c, device);
  const EncoderInput input = phi_input(c);
  const NamedTensors expected = load_safetensors(phi_file(c.at("file")));
  std::map<std::string, Tensor> stages;
  for (const Stage& stage : stages_of(*encoder, input).list) {
    stages.emplace(stage.name, stage.value);
    EXPECT_FALSE(stage.note.text.empty()) << stage.name;
  }
  const auto within = [](const std::string& stage, const Tensor& ours, const Tensor& theirs, double limit) {
    expect_within(stage, distance(ours, theirs), limit);
  };
  for (const auto& [key, tensor] : expected) {
    SCOPED_TRACE(key);
    const std::string end = key.substr(key.rfind('.') + 1);
    if (key == "input_ids") EXPECT_EQ(to_vector<int64_t>(stages.at(key)), to_vector<int64_t>(tensor));
    else if (key == "embedding") within("embedding", stages.at(key), tensor, 1e-5);
    else if (key == "embedding_bf16")
      EXPECT_GE(cosine(embed(*phi_model(c, device, true), {&input, 1}, 1), expected.at("embedding")), 0.999);
    else if (key.starts_with("pixel_values."))
      within("pixel_values", pixel_statistic(stages.at("pixel_values"), end, 12, 5), tensor, 1e-5);
    else if (end == "row_index" || end == "norms" || end == "rows") {
      const std::string stage = stage_of(key.substr(0, key.rfind('.')));
      std::vector<int64_t> rows = end == "norms" ? std::vector<int64_t>() : to_vector<int64_t>(expected.at(
                                                      key.substr(0, key.rfind('.')) + ".row_index"));
      const int64_t of_tile = stage.starts_with("vision") ? 577 : stages.at(stage).rows();
      for (int64_t row = 0; end == "norms" && row < of_tile; ++row) rows.push_back(row);
      const std::vector<int32_t> all = rows_of_tiles(c, stage, rows);
      const Tensor some = gather_rows(stages.at(stage), from_vector(all));
      const double limit = limit_of(stage, name);
      if (end == "rows") within(stage, some, tensor, limit);
      EXPECT_LE(end == "norms" ? distance(row_norms(some), tensor) : 0, 4 * limit) << stage;
    } else {  // a tensor in whole
      const std::string stage = stage_of(key);
      within(stage, stages.at(stage), tensor, limit_of(stage, name));
    }
  }
  EXPECT_LE(distance(embed(*encoder, {&input, 1}, 1), stages.at("embedding")), device == Device::cuda ? 2e-6 : 0)
      << "without a trace";
  if (input.images.empty()) return;
  const auto picture = encoder->processor.picture(input, input.images[0]);
  EXPECT_EQ(json({picture->height, picture->width}), c.at("image_sizes"));
  EXPECT_EQ(hex(sha256({reinterpret_cast<const char*>(picture->pixels.data()), picture->pixels.size()})),
            c.at("hd_rgb_sha256"));
}

TEST(Phi3VGolden, forward) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("backbone_images")
  int pictures = 0;
  for (const auto& [name, c] : phi_cases()) check_case(c, Device::cpu), pictures += c.contains("image");
  EXPECT_GE(pictures, 1);
}

TEST(Phi3VGolden, forward_on_devices) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("backbone_images")
  for (const Device device : kernel_devices())
    for (const auto& [name, c] : phi_cases()) {
      const EncoderInput input = phi_input(c);
      const TokenBatch batch = phi_model(c)->prepare({&input, 1});
      const bool too_long = device == Device::emu && batch.ids.numel() > 128;
      if (!too_long && !too_slow_for(device, batch)) check_case(c, device);
    }
}

TEST(Phi3VGolden, tokens) {
  NEEDS_GOLDEN("phi3_v")
  if (!std::filesystem::exists(phi_file("tokens.jsonl"))) GTEST_SKIP() << "not run: no tokens.jsonl";
  const auto encoder = phi_model();
  for (const json& c : lines_of_json(phi_file("tokens.jsonl")))
    EXPECT_EQ(json(encoder->processor.tokenizer().encode_with_ends(c.at("text").get<std::string>())),
              c.at("input_ids")) << c;
}

TEST(Phi3VGolden, sizes_of_tiles) {
  NEEDS_GOLDEN("phi3_v")
  size_t sizes = 0;
  for (const json& c : lines_of_json(phi_file("hd_sizes.jsonl"))) {
    HdTransform rule;
    rule.patch_size = 14, rule.num_crops = c.at("num_crops");
    const Size from{c.at("width"), c.at("height")};
    if (!c.contains("hd_width")) {
      EXPECT_THROW(rule.size_of(from), Error) << c;
      continue;
    }
    const Size size = rule.size_of(from);
    EXPECT_EQ(json({size.width, size.height}), json({c.at("hd_width"), c.at("hd_height")})) << c;
    EXPECT_EQ(rule.tokens_of(rule.grid_of(Image(size.width, size.height, 3))), c.at("num_img_tokens")) << c;
    ++sizes;
  }
  EXPECT_GE(sizes, 50u);
  HdTransform rule;
  rule.num_crops = 4;
  expect_error(Exit::data, "4000x2 pixels would become 1344x0", [&] { rule.size_of({4000, 2}); });
}

// Long and short rows, with pictures and without, of different numbers of tiles.
TEST(Phi3VGolden, batches) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("backbone_images")
  std::vector<EncoderInput> rows;
  for (const auto& [name, c] : phi_cases()) rows.push_back(phi_input(c));
  const auto encoder = phi_model({{"num_crops", 2}});
  const auto together = to_vector<float>(embed(*encoder, rows, 64));
  EXPECT_EQ(to_vector<float>(embed(*encoder, rows, 1)), together);
  EXPECT_EQ(to_vector<float>(embed(*encoder, rows, 3)), together);
}

std::vector<EncoderInput> phi_inputs(const json& names) {
  const auto cases = phi_cases();
  std::vector<EncoderInput> inputs;
  for (const std::string name : names) inputs.push_back(phi_input(cases.at(name)));
  return inputs;
}

void check_loss(Encoder& encoder, const std::vector<Parameter*>& trained, const std::string& adapter = "") {
  const GoldenLoss golden(phi_file(""), 4e-4, adapter);
  const auto queries = phi_inputs(golden.all.at("queries")), targets = phi_inputs(golden.all.at("targets"));
  golden.compare_embeddings(encoder, queries, targets, {1e-5, 2e-4, 2e-5, 5e-4});
  golden.compare_step(encoder, trained, queries, targets, 3, 2e-4);
}

TEST(Phi3VGolden, loss_and_gradients) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("backbone_images")
  if (!std::filesystem::exists(phi_file("loss.json"))) GTEST_SKIP() << "not run: no loss.json";
  const auto encoder = phi_model({{"num_crops", 4}});
  encoder->backbone->gradient_checkpointing = true;
  check_loss(*encoder, encoder->backbone->parameters());
}

TEST(Phi3VGolden, adapters) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("backbone_images")
  if (!std::filesystem::exists(phi_file("adapters"))) GTEST_SKIP() << "not run: no adapters";
  const NamedTensors expected = load_safetensors(phi_file("adapters/expected.safetensors"));
  for (const std::string name : {"lora", "dora"}) {
    SCOPED_TRACE(name);
    const auto encoder = phi_model({{"num_crops", 4}});
    std::vector<std::string> notes;
    const AttachedLora lora = load_adapter(*encoder->backbone, phi_file("adapters/" + name), {}, nullptr, notes);
    EXPECT_EQ(lora.warning, "");
    EXPECT_EQ(lora.adapters.size(), 20u);
    size_t compared = 0;
    for (const auto& [key, tensor] : expected) {
      if (!key.starts_with(name + "/")) continue;
      const std::string rest = key.substr(name.size() + 1), merged = "merged/";
      if (rest.starts_with(merged)) {
        for (const Lora* adapter : lora.adapters) {
          if (adapter->base.weight.path() != rest.substr(merged.size())) continue;
          EXPECT_LE(distance(adapter->merged().rows(0, tensor.rows()), tensor), 1e-6) << key;
          ++compared;
        }
      } else {
        const auto row = phi_inputs(json::array({rest.substr(0, rest.find('/'))}));
        EXPECT_LE(distance(embed(*encoder, row, 1), tensor), 1e-5) << key;
        ++compared;
      }
    }
    EXPECT_EQ(compared, expected.size() / 2);
    check_loss(*encoder, lora.parameters(), name);
  }
}

// The embedding is stored under its name, under that of the picture's part, or under both, in safetensors or as torch.save writes
// it.
TEST(Phi3VGolden, spellings_of_the_embedding) {
  NEEDS_GOLDEN("phi3_v")
  const TemporaryFolder folder("phi");
  std::filesystem::copy(phi_file("model"), folder.path());
  const NamedTensors stored = load_safetensors(phi_file("model/model.safetensors"));
  const EncoderInput row{"A cat and a dog", {}};
  const auto vector = to_vector<float>(embed(*phi_model(), {&row, 1}, 1));
  const std::string own = "model.embed_tokens.weight", other = "model.vision_embed_tokens.wte.weight";
  for (const bool both : {false, true}) {
    NamedTensors tensors = stored;
    tensors[other] = stored.at(own);
    if (!both) tensors.erase(own);
    const auto expect_same_vector = [&](const std::string& kind) {
      EXPECT_EQ(to_vector<float>(embed(*load_encoder(folder.path()), {&row, 1}, 1)), vector) << kind << both;
    };
    save_safetensors(folder / "model.safetensors", tensors);
    expect_same_vector("safetensors ");
    std::filesystem::remove(folder / "model.safetensors");
    torch_writer::save_torch_file(folder / "pytorch_model.bin", tensors);
    expect_same_vector("torch.save ");
    std::filesystem::remove(folder / "pytorch_model.bin");
  }
}

// A token sees itself and `sliding_window` before it. The text has 8 tokens.
TEST(Phi3VGolden, a_window_hides_tokens_far_back) {
  NEEDS_GOLDEN("phi3_v")
  const TemporaryFolder folder("window");
  std::filesystem::copy(phi_file("model"), folder.path());
  const EncoderInput row = phi_input(phi_cases().at("text"));
  json config = read_json(folder / "config.json");
  const auto vector = [&](const json& window) {
    config["sliding_window"] = window;
    write_json(folder / "config.json", config);
    return to_vector<float>(embed(*load_encoder(folder.path()), {&row, 1}, 1));
  };
  ASSERT_EQ(phi_model()->prepare({&row, 1}).ids.numel(), 8);
  const auto whole = vector(nullptr);
  EXPECT_EQ(vector(7), whole);
  EXPECT_NE(vector(6), whole);
}

TEST(Phi3VGolden, options_and_files) {
  NEEDS_GOLDEN("phi3_v")
  const TemporaryFolder folder("phi");
  const auto encoder = phi_model({{"num_crops", 3}});
  encoder->processor.write_configuration(folder.path());
  EXPECT_EQ(read_json(folder / "preprocessor_config.json").at("num_crops"), 3);
  const auto refused = [](const std::string& sentence, const EncoderOptions& options) {
    expect_error(Exit::usage, sentence, [&] { load_encoder(phi_file("model"), options); });
  };
  refused("every picture becomes tiles of 336x336 pixels; --num_crops limits their number", {.max_pixels = 1000});
  refused("--image_positions 1d: Phi-3.5-V has one way to count positions", {.image_positions = "1d"});
  const auto noted = load_encoder(phi_file("model"), {.image_resolution = "high"});
  EXPECT_NE(joined(noted->notes).find("--image_resolution high has no effect"), std::string::npos);
  // Texts are cut, rows with a picture are not.
  const auto narrow = load_encoder(phi_file("model"), {.max_len = 5});
  for (const char* name : {"text", "square_1crop"}) {
    const EncoderInput row = phi_input(phi_cases().at(name));
    const TokenBatch batch = narrow->prepare({&row, 1});
    EXPECT_EQ(batch.cut.size(), row.images.empty() ? 1u : 0u);
    EXPECT_EQ(batch.ids.numel() == 5, row.images.empty());
  }
}

TEST(Phi3VGolden, rotary_settings_as_transformers_5_writes_them) {
  NEEDS_GOLDEN("phi3_v")
  const TemporaryFolder folder("rope-parameters");
  std::filesystem::copy(phi_file("model"), folder.path());
  json config = read_json(folder / "config.json");
  config["rope_parameters"] = config.at("rope_scaling");
  config["rope_parameters"]["rope_theta"] = config.at("rope_theta");
  config.erase("rope_scaling"), config.erase("rope_theta");
  write_json(folder / "config.json", config);
  const EncoderInput row = phi_input(phi_cases().at("text"));
  const auto vector = [&](Encoder& encoder) { return to_vector<float>(embed(encoder, {&row, 1}, 1)); };
  const auto want = vector(*phi_model());
  EXPECT_EQ(vector(*load_encoder(folder.path())), want);
  config["rope_parameters"]["rope_theta"] = 500;
  write_json(folder / "config.json", config);
  EXPECT_NE(vector(*load_encoder(folder.path())), want);
}

TEST(Phi3VGolden, refuses_the_tokenizer_of_another_model) {
  NEEDS_GOLDEN("phi3_v")
  NEEDS_GOLDEN("llava_next")
  const TemporaryFolder folder("foreign-tokenizer");
  std::filesystem::copy(phi_file("model"), folder.path());
  for (const auto& file : std::filesystem::directory_iterator(golden("llava_next/model")))
    if (file.path().filename().string().starts_with("tokenizer"))
      std::filesystem::copy_file(file, folder / file.path().filename(),
                                 std::filesystem::copy_options::overwrite_existing);
  expect_error(Exit::data, "do the two belong together?", [&] { load_encoder(folder.path()); });
}

TEST(Phi3V, refuses_other_configurations) {
  const auto refused = [](const char* part, const char* field, const json& value, const std::string& sentence) {
    json config = tiny_phi3_v(16);
    (*part ? config[part] : config)[field] = value;
    expect_error(Exit::data, sentence, [&] { make_phi3_v(json::parse(config.dump())); });  // as from a file
  };
  EXPECT_EQ(make_phi3_v(json::parse(tiny_phi3_v(16).dump()))->dim(), 16);
  refused("embd_layer", "hd_transform_order", "glb_sub", "hd_transform_order is \"glb_sub\", expected \"sub_glb\"");
  refused("embd_layer", "with_learnable_separator", false, "with_learnable_separator is false, expected true");
  refused("img_processor", "type_feature", "cls_patch", "type_feature is \"cls_patch\", expected \"patch\"");
  refused("img_processor", "layer_idx", -9, "layer_idx must name a layer of the tower");
  refused("rope_scaling", "type", "yarn", "rope_scaling is of type yarn, expected su, longrope or default");
  refused("rope_scaling", "long_factor", json::array({1.0}), "long_factor has 1 numbers, expected half the head size");
  refused("", "hidden_act", "gelu", "hidden_act is \"gelu\", expected \"silu\"");
  refused("", "num_attention_heads", 3, "a multiple of num_key_value_heads, and the head size even");
}

}  // namespace
}  // namespace vlm2vec
