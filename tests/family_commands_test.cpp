// Every family with an image token through the commands, from a tiny configuration: made, trained, evaluated, looked
// at.
#include "cli_fixture.h"
#include "lines_of_json.h"
#include "tensor/tensor_files.h"
#include "vlm/encoder.h"
#include "vlm/parity.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

class FamilyCommands : public Cli, public testing::WithParamInterface<std::string> {
 protected:
  // A model of the family in ./family, from the tokenizer of make_model().
  void make_family() const {
    make_model();
    write("config.json", family().tiny_config(16).dump());
    const bool resizes = make_backbone(folder_ / "config.json")->input().image_size == 0;
    const Result r = run("init --config config.json --tokenizer model --output_dir family --quiet" +
                         std::string(resizes ? " --min_pixels 64 --max_pixels 4096" : ""));
    ASSERT_EQ(r.code, 0) << r.err;
  }
  static const Family& family() {
    return *std::ranges::find(families(), GetParam(), &Family::model_type);
  }
  void succeed(const std::string& arguments) const {
    const Result r = run(arguments);
    EXPECT_EQ(r.code, 0) << arguments << "\n" << r.err;
  }
  double loss(const std::string& run, bool last) const {
    const auto lines = lines_of_json(folder_ / run / "log.jsonl");
    return (last ? lines.back() : lines.front()).at("loss");
  }
};

constexpr const char* kTrain =
    "train --model_name family --dataset_name train --max_steps 30 --per_device_train_batch_size 5 --temperature 0.1 "
    "--learning_rate 1e-2 --gc_q_chunk_size 2 --gradient_checkpointing True --quiet --output_dir ";

TEST_P(FamilyCommands, train_whole_models_and_adapters_that_merge) {
  make_family();
  succeed(kTrain + std::string("whole"));
  EXPECT_LT(loss("whole", true), 0.5 * loss("whole", false));
  succeed(kTrain + std::string("lora --lora True --lora_dropout 0 --lora_target_modules q_proj qkv_proj gate_proj "
                               "gate_up_proj fc1"));
  EXPECT_LT(loss("lora", true), 0.8 * loss("lora", false));
  succeed("merge --model_name family --adapter lora --output_dir merged --quiet");
  write("rows.jsonl", R"({"text": "what is this?", "image": "train/p1.png"})"
                      "\n");
  const auto vectors = [&](const std::string& model) {
    succeed("embed --input rows.jsonl --output v.npy --prompt vlm2vec-v2 --quiet --model_name " + model);
    return to_vector<float>(read_npy(folder_ / "v.npy"));
  };
  const auto adapted = vectors("family --adapter lora"), merged = vectors("merged"), plain = vectors("family");
  for (size_t i = 0; i < adapted.size(); ++i) EXPECT_NEAR(adapted[i], merged[i], 1e-5);
  EXPECT_NE(adapted, plain);
}

TEST_P(FamilyCommands, evaluate_and_explain) {
  make_family();
  succeed("eval --model_name family --dataset_name test --encode_output_path scores --quiet");
  EXPECT_TRUE(fs::exists(folder_ / "scores/summary.json"));
  const std::string token = load_encoder(folder_ / "family")->image_token();
  succeed("explain --model_name family --text '" + token + " what is this?' --image train/p1.png");
}

TEST_P(FamilyCommands, give_the_same_bits_in_any_batch_and_by_any_threads) {
  make_family();
  write("rows.jsonl", R"({"text": "a thing"}
{"image": "train/p1.png"}
{"text": "what is this, said at some length?", "image": "train/p2.png"}
{"text": "b"}
)");
  const auto vectors = [&](const std::string& options) {
    succeed("embed --model_name family --input rows.jsonl --output v.npy --prompt vlm2vec-v2 --quiet " + options);
    return to_vector<float>(read_npy(folder_ / "v.npy"));
  };
  const auto alone = vectors("--batch_size 1 --threads 1");
  EXPECT_EQ(vectors("--batch_size 4 --threads 1"), alone);
  EXPECT_EQ(vectors("--batch_size 3 --threads 4"), alone);
}

// With a frozen tower, which GradCache runs once.
TEST_P(FamilyCommands, resume_with_the_same_bits) {
  make_family();
  const std::string train = "train --model_name family --dataset_name train --max_steps 4 --save_steps 2 --quiet "
                            "--per_device_train_batch_size 3 --gc_q_chunk_size 2 --image_encoder_freeze True "
                            "--output_dir whole ";
  succeed(train + "--plan");
  EXPECT_FALSE(fs::exists(folder_ / "whole"));
  succeed(train);
  const std::string weights = read_text(folder_ / "whole/model.safetensors");
  fs::remove_all(folder_ / "whole/checkpoint-4");
  fs::remove(folder_ / "whole/model.safetensors");
  succeed(train + "--resume_from auto");
  EXPECT_EQ(read_text(folder_ / "whole/model.safetensors"), weights);
}

TEST_P(FamilyCommands, agree_with_their_own_reference) {
  make_family();
  const auto encoder = load_encoder(folder_ / "family");
  NamedTensors reference;
  const EncoderInput input{encoder->image_token() + " what is this?", {folder_ / "train/p1.png"}};
  for (const Stage& stage : stages_of(*encoder, input).list) reference[stage.name] = stage.value;
  write("reference/cases.json",
        Json::array({{{"name", "one"}, {"text", input.text}, {"images", {"../train/p1.png"}}}}).dump());
  save_safetensors(folder_ / "reference/one.safetensors", reference);
  const auto cases = compare_with_reference(*encoder, folder_ / "reference");
  EXPECT_EQ(cases.at(0).divergence(), nullptr);
  EXPECT_EQ(cases[0].stages.size(), reference.size());
  succeed("parity --model_name family --reference reference --device cpu --quiet");
  EXPECT_EQ(read_json(folder_ / "reference/parity.json").at("device"), "cpu");
  EXPECT_EQ(read_json(folder_ / "reference/parity.json").at("cases").size(), 1u);
  reference.at("vision_block_0").data<float>()[0] += 1;
  save_safetensors(folder_ / "reference/one.safetensors", reference);
  EXPECT_EQ(compare_with_reference(*encoder, folder_ / "reference").at(0).divergence()->stage, "vision_block_0");
}

std::vector<std::string> with_image_token() {
  std::vector<std::string> types;
  for (const Family& family : families())
    if (!family.image_token.empty()) types.push_back(family.model_type);
  return types;
}

// The small configurations of the examples, under their own names.
TEST_F(Cli, InitTakesTheSmallExamples) {
  make_model();
  int made = 0;
  for (const auto& file : fs::directory_iterator(SOURCE_DIR "/examples")) {
    const std::string name = file.path().filename().string();
    if (!name.starts_with("mini-")) continue;
    const Result r = run("init --config " + file.path().string() + " --tokenizer model --output_dir " + name);
    EXPECT_EQ(r.code, 0) << name << ": " << r.err;
    ++made;
  }
  EXPECT_GE(made, 4);
}

INSTANTIATE_TEST_SUITE_P(, FamilyCommands, testing::ValuesIn(with_image_token()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace vlm2vec
