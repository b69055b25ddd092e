// The command `bench`: its rows, what they count, and that the operations of a model are those that `explain` counts.
#include "cli_fixture.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

class Bench : public Cli {
 protected:
  Json measured(const std::string& words) const {
    const Result r = run("bench " + words + " --shape mini --rounds 1 --threads 1 --json");
    EXPECT_EQ(r.code, 0) << words << ": " << r.err;
    EXPECT_EQ(r.err, "") << words;
    const Json found = Json::parse(r.out);
    for (const char* field : {"processor", "instruction_set"}) EXPECT_FALSE(found.at(field).get<std::string>().empty());
    EXPECT_EQ(found.at("shape"), "mini");
    EXPECT_EQ(found.at("threads"), 1);
    EXPECT_EQ(found.at("rounds"), 1);
    EXPECT_GT(found.at("most_resident_bytes"), 1 << 20);
    const bool peak = found.at("instruction_set") != "base";
    EXPECT_FALSE(found.at("rows").empty());
    for (const Json& row : found.at("rows")) {
      const double flops = row.at("flops"), seconds = row.at("seconds"), rate = row.at("gflops");
      EXPECT_GT(rate, 0) << row;
      EXPECT_NEAR(flops / seconds * 1e-9, rate, 1e-9 * rate) << row;
      if (peak)
        EXPECT_NEAR(row.at("percent_of_peak").get<double>() * row.at("peak_gflops").get<double>(), 100 * rate, 1e-6)
            << row;
      else EXPECT_TRUE(row.at("percent_of_peak").is_null()) << row;
    }
    return found;
  }
  // The model of mini in ./mini, whose tokens are bytes as in bench.
  void make_mini() const {
    fs::create_directories(folder_ / "bytes");
    write_tokenizer_json(folder_ / "bytes/tokenizer.json", train_bpe({}, 258));
    const Result r =
        run("init --config '" SOURCE_DIR "/examples/mini-qwen2-vl.json' --tokenizer bytes --output_dir mini");
    ASSERT_EQ(r.code, 0) << r.err;
  }
  struct Explained {
    double tower = 0, decoder = 0;
    double all() const { return tower + decoder; }
  };
  Explained explained(int picture, size_t text) const {
    std::string line = "explain --model_name mini --json --text '" + std::string(picture > 0 ? "<|image_pad|>" : "");
    line += std::string(text, 'x') + "'";
    if (picture > 0) write_png(folder_ / "picture.png", Image(picture, picture, 3)), line += " --image picture.png";
    const Result r = run(line);
    EXPECT_EQ(r.code, 0) << r.err;
    Explained flops;
    const Json found = Json::parse(r.out);
    for (const Json& stage : found.at("stages"))
      (stage.at("stage").get<std::string>().starts_with("vision_") ? flops.tower : flops.decoder) +=
          stage.at("flops").get<double>();
    return flops;
  }
};

TEST_F(Bench, CountsTheOperationsOfProductsAndAttention) {
  const Json gemm = measured("gemm");
  std::set<std::string> layers;
  for (const Json& row : gemm.at("rows")) {
    const double m = row.at("m"), n = row.at("n"), k = row.at("k");
    EXPECT_EQ(row.at("flops").get<double>(), 2 * m * n * k) << row;
    const std::string name = row.at("name");
    layers.insert(name.substr(0, name.find(',')));
  }
  for (const char* layer : {"visual.patch_embed.proj", "visual.blocks.0.attn.qkv", "visual.merger.mlp.2",
                            "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"})
    EXPECT_TRUE(layers.contains(layer)) << layer;
  EXPECT_EQ(gemm.at("rows").size(), 3 * layers.size());  // forward and both gradients
  const Json attention = measured("attention");
  EXPECT_EQ(attention.at("rows").size(), 10u);
  for (const Json& row : attention.at("rows")) {
    const double n = row.at("length"), pairs = row.at("causal") == 1 ? n * (n + 1) / 2 : n * n;
    const double width = row.at("heads").get<double>() * row.at("head_dim").get<double>();
    const bool forward = row.at("name").get<std::string>().ends_with("forward");
    EXPECT_EQ(row.at("flops").get<double>(), row.at("sequences").get<double>() * (forward ? 4 : 10) * pairs * width);
  }
}

TEST_F(Bench, CountsTheOperationsOfAModelAsExplainDoes) {
  make_mini();
  const Json embed = measured("embed");
  ASSERT_EQ(embed.at("rows").size(), 2u);
  const Json &picture = embed.at("rows")[0], &text = embed.at("rows")[1];
  EXPECT_DOUBLE_EQ(picture.at("flops"), explained(448, 64).all());
  EXPECT_EQ(picture.at("tokens"), 14 * 14 + 64);
  EXPECT_DOUBLE_EQ(text.at("flops"), explained(0, 256).all());
  EXPECT_EQ(text.at("tokens"), 256);
  for (const Json& row : embed.at("rows")) {
    EXPECT_NEAR(row.at("tokens_per_second").get<double>() * row.at("seconds").get<double>(), row.at("tokens"), 1e-6);
    EXPECT_GT(row.at("peak_bytes"), 4'000'000) << "1.1 million weights in f32";
  }
}

TEST_F(Bench, CountsTheOperationsOfAStep) {
  make_mini();
  const Json train = measured("train");
  ASSERT_EQ(train.at("rows").size(), 3u);
  const Explained query = explained(96, 16), target = explained(0, 16);
  const double decoder = 64 * (query.decoder + target.decoder), tower = 64 * query.tower;
  // Two products of rank 16 beside each of seven matrices in three layers; the sides of the seven sum up to 2048.
  const double adapters = 64 * (9 + 16 + 16) * 2.0 * 3 * 16 * 2048, adapted = tower + 2 * (decoder + adapters);
  const double expected[] = {3 * (tower + decoder), adapted, adapted};
  for (size_t i = 0; i < 3; ++i) {
    const Json& step = train.at("rows")[i];
    EXPECT_EQ(step.at("pairs"), 64);
    EXPECT_EQ(step.at("tokens"), 64 * (9 + 16 + 16));
    EXPECT_NEAR(step.at("flops"), expected[i], 1e-12 * expected[i]) << step.at("name");
    EXPECT_NEAR(step.at("pairs_per_second").get<double>() * step.at("seconds").get<double>(), 64, 1e-6);
  }
  EXPECT_LT(train.at("rows")[2].at("peak_bytes"), train.at("rows")[1].at("peak_bytes")) << "chunks take less memory";
}

TEST_F(Bench, RefusesOtherWords) {
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"conv", "bench: got \"conv\", expected gemm, attention, embed or train"},
      {"", "bench: KIND is missing: gemm, attention, embed or train"},
      {"gemm train", "bench: got gemm train, expected one of gemm, attention, embed or train"},
      {"gemm --shape 7b", "bench: --shape: got \"7b\", expected qwen2-vl-2b, mid or mini"},
      {"gemm --precision f16", "bench: --precision: got \"f16\", expected f32 or bf16"},
      {"gemm --rounds 0", "bench: --rounds: got 0, expected 1 or more"}};
  for (const auto& [words, sentence] : faults) {
    const Result r = run("bench " + words);
    EXPECT_EQ(r.code, 2) << words;
    EXPECT_TRUE(has(r.err, sentence)) << r.err;
    EXPECT_EQ(r.out, "");
  }
}

}  // namespace
}  // namespace vlm2vec
