// Adapters by the program's commands: trained, applied and merged, their layers' names, the positions that they keep.
#include "cli_fixture.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

TEST_F(Cli, TrainsAppliesAndMergesAnAdapter) {
  make_model();
  const Result trained = run(
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 3 --learning_rate 0.1 "
      "--lr_scheduler_type constant --lora --output_dir adapter");
  ASSERT_EQ(trained.code, 0) << trained.err;
  write("rows.jsonl", "{\"text\": \"thing 1\"}\n");
  const auto embed = [&](const std::string& model, const std::string& more = "") {
    const Result result = run("embed --model_name " + model + " --input rows.jsonl --output x.npy " + more);
    EXPECT_EQ(result.code, 0) << result.err;
    const std::string npy = read_text(folder_ / "x.npy");
    std::vector<float> numbers(16);
    std::memcpy(numbers.data(), npy.data() + npy.size() - 64, 64);
    return std::pair(numbers, result.err);
  };
  const auto [adapted, notes] = embed("model", "--adapter adapter --adapter_norms");
  EXPECT_TRUE(has(notes, "adapter: 7 of 7 modules matched\n")) << notes;
  EXPECT_TRUE(has(notes, "adapter: model.layers.0.mlp.down_proj: rank 16, |sBA| ")) << notes;
  const Result merge = run("merge --model_name model --adapter adapter --output_dir merged --json");
  ASSERT_EQ(merge.code, 0) << merge.err;
  EXPECT_EQ(Json::parse(merge.out).at("merged"), 7);
  EXPECT_TRUE(has(merge.err, "adapter: 7 of 7 modules matched\nmerged: 7 weights merged\n")) << merge.err;
  const auto merged = embed("merged").first, plain = embed("model").first;
  float moved = 0;
  for (size_t i = 0; i < merged.size(); ++i) {
    EXPECT_NEAR(merged[i], adapted[i], 2e-6);
    moved = std::max(moved, std::abs(plain[i] - adapted[i]));
  }
  EXPECT_GT(moved, 1e-3);

  NamedTensors more = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
  for (const std::string part : {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"})
    more.emplace("base_model.model.model.language_model.layers.5.mlp.up_proj." + part,
                 more.at("base_model.model.model.language_model.layers.0.mlp.up_proj." + part));
  save_safetensors(folder_ / "adapter/adapter_model.safetensors", more);
  const std::string part = "embed --model_name model --input rows.jsonl --output x.npy --adapter adapter";
  const Result refused = run(part);
  EXPECT_EQ(refused.code, 3);
  EXPECT_TRUE(has(refused.err, "7 of 8 modules matched")) << refused.err;
  const auto [part_of_it, said] = embed("model", "--adapter adapter --allow_partial_adapter --quiet");
  EXPECT_EQ(part_of_it, adapted);
  EXPECT_EQ(said,
            "adapter: 7 of 8 modules matched; no layer of this model that target_modules names is "
            "model.layers.5.mlp.up_proj; ignored\n");
  EXPECT_EQ(run("merge --model_name model --adapter adapter --output_dir train").code, 3);
  EXPECT_EQ(run("merge --model_name model --adapter adapter --allow_partial_adapter --output_dir train").code, 2);
  NamedTensors foreign;  // of which no layer is in the model
  for (const auto& [name, tensor] : more) foreign.emplace("base_model.model.decoder." + name.substr(23), tensor);
  save_safetensors(folder_ / "adapter/adapter_model.safetensors", foreign);
  const Result none = run("merge --model_name model --adapter adapter --allow_partial_adapter --output_dir none");
  EXPECT_EQ(none.code, 3);
  EXPECT_TRUE(has(none.err, "0 of 8 modules matched")) << none.err;
  EXPECT_FALSE(has(none.err, "allow_partial")) << none.err;
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(Cli, NamesTheLayersOfAnAdapterAsAsked) {
  make_model();
  const std::string train =
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 1 --lora ";
  const auto names = [&](const std::string& options) {
    const Result trained = run(train + options + " --output_dir adapter --overwrite_output_dir True");
    EXPECT_EQ(trained.code, 0) << trained.err;
    EXPECT_FALSE(has(trained.err, "no layer is named")) << "the default names layers of other models, too";
    std::set<std::string> modules;
    for (const auto& [name, tensor] : load_safetensors(folder_ / "adapter/adapter_model.safetensors"))
      modules.insert(name.substr(0, name.find(".lora_")));
    return modules;
  };
  EXPECT_TRUE(names("").contains("base_model.model.model.language_model.layers.0.mlp.up_proj"));
  EXPECT_TRUE(names("--adapter_names official").contains("base_model.model.model.layers.0.mlp.up_proj"));
  const auto all = names("--lora_target_modules all-linear");  // as PEFT: with the image encoder, without the head
  EXPECT_EQ(all.size(), 7u + 4 + 2);
  EXPECT_TRUE(all.contains("base_model.model.model.visual.merger.mlp.2"));
  EXPECT_EQ(Json::parse(read_text(folder_ / "adapter/adapter_config.json")).at("target_modules"), "all-linear");
  const Result vain = run(train + "--lora_target_modules q_proj qkv_proj --output_dir vain");
  EXPECT_TRUE(has(vain.err, "adapter: no layer is named qkv_proj; ignored\n")) << vain.err;
  EXPECT_EQ(run(train + "--lora_target_modules all-linear q_proj --output_dir x").code, 2);
  EXPECT_EQ(run(train + "--adapter_names new --output_dir x").code, 2);
  EXPECT_EQ(run("train --model_name model --dataset_name train --adapter_names official --output_dir x").code, 2);
}

TEST_F(Cli, KeepsTheImagePositionsOfATrainedModel) {
  make_model();
  write("rows.jsonl", "{\"text\": \"<|image_pad|> thing\", \"image\": \"train/p1.png\"}\n");
  const auto embed = [&](const std::string& options, const std::string& output = "x.npy") {
    const Result r = run("embed --input rows.jsonl --output " + output + " --quiet " + options);
    EXPECT_EQ(r.code, 0) << r.err;
    return read_text(folder_ / output);
  };
  EXPECT_EQ(embed("--model_name model --image_positions 1d"), embed("--model_name model"));
  EXPECT_NE(embed("--model_name model --image_positions 3d"), embed("--model_name model"));
  for (const std::string kind : {"", "--lora"}) {
    const std::string folder = kind.empty() ? "full" : "adapter",
                      model = kind.empty() ? "--model_name full" : "--model_name model --adapter adapter";
    const Result trained =
        run("train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 1 "
            "--image_positions 3d --output_dir " +
            folder + " " + kind);
    ASSERT_EQ(trained.code, 0) << trained.err;
    EXPECT_EQ(Json::parse(read_text(folder_ / folder / "preprocessor_config.json")).at("image_positions"), "3d");
    EXPECT_EQ(embed(model), embed(model + " --image_positions 3d"));
    const Result other = run("embed --input rows.jsonl --output y.npy --image_positions 1d " + model);
    EXPECT_EQ(other.code, 2);
    EXPECT_TRUE(has(other.err, "preprocessor_config.json says that the model was trained with 3d")) << other.err;
    Json config = Json::parse(read_text(folder_ / folder / "preprocessor_config.json"));
    config["image_positions"] = "1d";
    write(folder + "/preprocessor_config.json", config.dump());
    const std::string line = embed(model);
    config["image_positions"] = "3d";
    write(folder + "/preprocessor_config.json", config.dump());
    EXPECT_NE(embed(model), line);
  }
  ASSERT_EQ(run("merge --model_name model --adapter adapter --output_dir merged").code, 0);
  EXPECT_EQ(run("embed --input rows.jsonl --output y.npy --image_positions 1d --model_name merged").code, 2);
  // search embeds its query as the index was made
  embed("--model_name model --image_positions 3d", "index.npy");
  const Result found = run("search --index index.npy --text '<|image_pad|> thing' --image train/p1.png --json");
  EXPECT_NEAR(Json::parse(found.out).at("score").get<double>(), 1, 1e-6) << found.err;
  embed("--model_name model", "line.npy");
  const Result other = run("search --index index.npy --queries line.npy");
  EXPECT_EQ(other.code, 3);
  EXPECT_TRUE(has(other.err, "was made with another --image_positions than index.npy")) << other.err;
  Json how = Json::parse(read_text(folder_ / "index.npy.json"));
  EXPECT_EQ(how.at("image_positions"), "3d");
  how.erase("image_positions");  // as written before there was a choice: 1d
  write("index.npy.json", how.dump());
  EXPECT_EQ(run("search --index index.npy --queries line.npy").code, 0);
  embed("--model_name full", "full.npy");
  Json before = Json::parse(read_text(folder_ / "full.npy.json"));
  before.erase("image_positions");  // as written before there was a choice: 1d, which this model was not trained with
  write("full.npy.json", before.dump());
  const Result refused = run("search --index full.npy --text '<|image_pad|> thing' --image train/p1.png --json");
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(has(refused.err, "was trained with 3d")) << refused.err;
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output x.npy --image_positions 2d").code, 2);
}

}  // namespace
}  // namespace vlm2vec
