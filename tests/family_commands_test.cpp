// Every family through the commands, from a tiny configuration: made, trained, evaluated, looked at.
#include "family_fixture.h"
#include "lines_of_json.h"
#include "tensor/tensor_files.h"
#include "vlm/encoder.h"
#include "vlm/parity.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

class FamilyCommands : public FamilyCli, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override { make_family(family_named(GetParam()), 4096); }
  std::vector<float> vectors(const std::string& options) const {
    must("embed --input rows.jsonl --output v.npy --prompt vlm2vec-v2 " + options);
    return to_vector<float>(read_npy(folder_ / "v.npy"));
  }
  double loss(const std::string& run, bool last) const {
    const auto lines = lines_of_json(folder_ / run / "log.jsonl");
    return (last ? lines.back() : lines.front()).at("loss");
  }
};

constexpr const char* kTrain =
    "train --model_name family --dataset_name train --max_steps 30 --per_device_train_batch_size 5 --temperature 0.1 "
    "--learning_rate 1e-2 --gc_q_chunk_size 2 --gradient_checkpointing True --output_dir ";

TEST_P(FamilyCommands, train_whole_models_and_adapters_that_merge) {
  must(kTrain + std::string("whole"));
  EXPECT_LT(loss("whole", true), 0.5 * loss("whole", false));
  write("rows.jsonl", R"({"text": "what is this?", "image": "train/p1.png"})"
                      "\n");
  const auto plain = vectors("--model_name family");
  for (const std::string kind : {"lora", "dora"}) {
    must(kTrain + kind + " --lora True --lora_dropout 0 --use_dora " + (kind == "dora" ? "True" : "False") +
         " --lora_target_modules q_proj qkv_proj query gate_proj gate_up_proj fc1");
    EXPECT_LT(loss(kind, true), 0.8 * loss(kind, false)) << kind;
    must("merge --model_name family --adapter " + kind + " --output_dir merged_" + kind);
    const auto adapted = vectors("--model_name family --adapter " + kind),
               merged = vectors("--model_name merged_" + kind);
    for (size_t i = 0; i < adapted.size(); ++i) EXPECT_NEAR(adapted[i], merged[i], 1e-5) << kind;
    EXPECT_NE(adapted, plain) << kind;
  }
}

TEST_P(FamilyCommands, evaluate_and_explain) {
  must("eval --model_name family --dataset_name test --encode_output_path scores");
  EXPECT_TRUE(fs::exists(folder_ / "scores/summary.json"));
  const Result shorter = run("eval --model_name family --dataset_name test --encode_output_path scores --dim 8");
  EXPECT_EQ(shorter.code, 2) << "an evaluation with other options must not replace this one";
  EXPECT_TRUE(has(shorter.err, "has an evaluation with --dim 0, now it is 8")) << shorter.err;
  const Result r = run("explain --model_name family --prompt vlm2vec-v2 --text 'what is this?' --image train/p1.png "
                       "--target 'a thing' --heat_map map.png");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(has(r.out, "embedding")) << r.out;
  EXPECT_TRUE(fs::exists(folder_ / "map.png"));
}

TEST_P(FamilyCommands, give_the_same_bits_in_any_batch_and_by_any_threads) {
  write("rows.jsonl", R"({"text": "a thing"}
{"image": "train/p1.png"}
{"text": "what is this, said at some length?", "image": "train/p2.png"}
{"text": "b"}
)");
  const auto alone = vectors("--model_name family --batch_size 1 --threads 1");
  EXPECT_EQ(vectors("--model_name family --batch_size 4 --threads 1"), alone);
  EXPECT_EQ(vectors("--model_name family --batch_size 3 --threads 4"), alone);
}

// With a frozen tower, which GradCache runs once.
TEST_P(FamilyCommands, resume_with_the_same_bits) {
  const std::string train = "train --model_name family --dataset_name train --max_steps 4 --save_steps 2 "
                            "--per_device_train_batch_size 3 --gc_q_chunk_size 2 --image_encoder_freeze True "
                            "--output_dir whole ";
  must(train + "--plan");
  EXPECT_FALSE(fs::exists(folder_ / "whole"));
  must(train);
  const std::string weights = read_text(folder_ / "whole/model.safetensors");
  fs::remove_all(folder_ / "whole/checkpoint-4");
  fs::remove(folder_ / "whole/model.safetensors");
  must(train + "--resume_from auto");
  EXPECT_EQ(read_text(folder_ / "whole/model.safetensors"), weights);
}

// The program against its own stages: what parity reads, compares and writes, for every family. The official code's
// stages come from tests/interop/dump.py.
TEST_P(FamilyCommands, find_where_a_reference_differs) {
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
  must("parity --model_name family --reference reference --device cpu");
  EXPECT_EQ(read_json(folder_ / "reference/parity.json").at("device"), "cpu");
  EXPECT_EQ(read_json(folder_ / "reference/parity.json").at("cases").size(), 1u);
  reference.at("vision_block_0").data<float>()[0] += 1;
  save_safetensors(folder_ / "reference/one.safetensors", reference);
  EXPECT_EQ(compare_with_reference(*encoder, folder_ / "reference").at(0).divergence()->stage, "vision_block_0");
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
    const Result learned = run("init --config " + file.path().string() + " --train_tokenizer train --output_dir " + name);
    EXPECT_EQ(learned.code, 0) << name << ": " << learned.err;
    ++made;
  }
  EXPECT_GE(made, 4);
}

INSTANTIATE_TEST_SUITE_P(, FamilyCommands, testing::ValuesIn(all_families()),
                         [](const auto& test) { return test_name(test.param); });

}  // namespace
}  // namespace vlm2vec
