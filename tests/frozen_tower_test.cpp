// A vision tower that is not trained costs one forward: gradient checkpointing does not run it again, and GradCache
// keeps its output for the second pass.
#include <gtest/gtest.h>

#include "mmeb/training/grad_cache.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

using Strings = std::vector<std::string>;
constexpr int kDepth = 12;  // blocks of the tower

// What is trained: adapters with dropout on the layers of these names, or the parameters whose names begin so; but
// those whose names begin as `frozen` are not.
struct Trained {
  Strings adapters, parameters = {};
  bool dora = false;
  std::string frozen = "none";
};
const Trained kDecoderLora{{"q_proj", "v_proj", "down_proj"}}, kDecoderDora{{"q_proj", "down_proj"}, {}, true},
    kTowerLora{{"fc1", "qkv"}}, kLora{{"q_proj", "fc1"}}, kDecoder{{}, {"model."}},
    kFrozenTowerLora{{"q_proj", "fc1"}, {}, false, "visual."}, kLastBlock{{}, {"visual.blocks.11.", "visual.merger."}},
    kAll{{}, {""}};

struct Outcome {
  std::vector<float> gradients;
  std::vector<int64_t> block_runs;  // of each block of the tower
  int64_t tower_runs = 0, peak = 0, kept = 0;
};

// Counts how often a layer is run, and changes nothing.
struct Counter : Adapter {
  explicit Counter(int64_t& runs) : runs(runs) {}
  Var operator()(const Linear& layer, const Var& x) override { return ++runs, layer.plain(x); }
  int64_t& runs;
};

class FrozenTower : public testing::Test {
 protected:
  FrozenTower() : folder_("frozen-tower") {
    write_tiny_model(folder_.path());
    auto config = read_json(folder_ / "config.json");
    config["vision_config"]["depth"] = kDepth;
    write_json(folder_ / "config.json", config);
    const auto model = load_encoder(folder_.path(), {.load_weights = false});
    initialise(*model->backbone, 0.2, 1, DType::f32, Device::cpu);
    save_safetensors(folder_ / "model.safetensors", state_dict(*model->backbone));
    pairs_ = tiny_pairs(folder_.path(), 10);
  }

  std::unique_ptr<Encoder> encoder() const { return load_encoder(folder_.path()); }

  Outcome run(Encoder& encoder, const Trained& trained, const ContrastiveOptions& options, bool checkpointing) const {
    std::vector<Parameter*> parameters;
    AttachedLora lora;
    if (!trained.adapters.empty()) {
      lora = attach_lora(*encoder.backbone, {4, 8.0, 0.3, trained.adapters, trained.dora}, &encoder.backbone->dropout);
      parameters = lora.parameters();
      for (size_t i = 0; i < parameters.size(); ++i)  // B = 0 would hide A
        parameters[i]->set(normal_tensor(parameters[i]->shape(), 0.2, i, DType::f32, Device::cpu));
      lora.update();
      encoder.backbone->dropout.active = true, encoder.backbone->dropout.seed = 5;
    }
    for (const std::string& beginning : trained.parameters)
      for (Parameter* p : encoder.backbone->parameters())
        if (p->path().starts_with(beginning)) parameters.push_back(p);
    std::erase_if(parameters, [&](const Parameter* p) { return p->path().starts_with(trained.frozen); });
    encoder.backbone->gradient_checkpointing = checkpointing;
    const TrainedParameters all(parameters);
    Outcome run;
    reset_peak_bytes();
    const int64_t before = memory_statistics().live_bytes;
    run.kept = contrastive_step(encoder, pairs_.queries, pairs_.targets, options).kept_bytes;
    run.peak = memory_statistics().peak_bytes - before;
    run.gradients = to_vector<float>(all.gradients());
    return run;
  }

  Outcome checkpointed(const Trained& trained, bool checkpointing) const {
    const auto model = encoder();
    std::vector<int64_t> runs(kDepth);
    model->backbone->each_module([&](Module& m) {
      for (int i = 0; i < kDepth; ++i)
        if (m.path() == "visual.blocks." + std::to_string(i) + ".attn.proj")
          dynamic_cast<Linear&>(m).adapter = std::make_unique<Counter>(runs[size_t(i)]);
    });
    Outcome result = run(*model, trained, {.temperature = 0.2}, checkpointing);
    result.block_runs = runs;
    return result;
  }

  Outcome in_chunks(const Trained& trained, int64_t chunk, int64_t keep_bytes, bool count = false) const {
    const auto model = encoder();
    int64_t tower_runs = 0;
    if (count) model->backbone->trace = [&](const std::string& stage, const Tensor&) { tower_runs += stage == "vision_merger"; };
    Outcome result =
        run(*model, trained,
            {.temperature = 0.2, .query_chunk = chunk, .target_chunk = chunk, .keep_bytes = keep_bytes}, false);
    result.tower_runs = tower_runs;
    return result;
  }

  TemporaryFolder folder_;
  TinyPairs pairs_;
};

TEST_F(FrozenTower, is_run_once_with_gradient_checkpointing) {
  const std::vector<int64_t> once(kDepth, 2), twice(kDepth, 4);  // of queries and of targets
  std::vector<int64_t> last_twice = once;
  last_twice.back() = 4;
  EXPECT_EQ(checkpointed(kDecoderLora, true).block_runs, once);
  EXPECT_EQ(checkpointed(kDecoder, true).block_runs, once);
  EXPECT_EQ(checkpointed(kLastBlock, true).block_runs, last_twice) << "eleven blocks are frozen";
  EXPECT_EQ(checkpointed(kTowerLora, true).block_runs, twice);
  EXPECT_EQ(checkpointed(kAll, true).block_runs, twice);
}

TEST_F(FrozenTower, makes_checkpointing_no_worse_than_none) {
  for (const Trained& trained : {kDecoderLora, kDecoderDora, kDecoder, kLastBlock})
    EXPECT_LE(checkpointed(trained, true).peak, checkpointed(trained, false).peak);
  EXPECT_LT(2 * checkpointed(kAll, true).peak, checkpointed(kAll, false).peak);
}

TEST_F(FrozenTower, checkpointing_gives_the_same_bits) {
  for (const Trained& trained : {kDecoderLora, kDecoderDora, kTowerLora, kLora, kDecoder, kLastBlock, kAll})
    EXPECT_EQ(checkpointed(trained, true).gradients, checkpointed(trained, false).gradients);
}

// Five of the ten queries have a picture, and five of the targets: in chunks of 2 each of ten chunks has one.
TEST_F(FrozenTower, is_run_once_for_each_chunk) {
  for (const Trained& trained : {kDecoderLora, kDecoderDora, kDecoder}) {
    EXPECT_EQ(in_chunks(trained, 2, kKeptChunkBytes, true).tower_runs, 10);
    EXPECT_EQ(in_chunks(trained, 1, kKeptChunkBytes, true).tower_runs, 10) << "and ten chunks are texts alone";
  }
  const Outcome whole = in_chunks(kDecoderLora, 10, kKeptChunkBytes, true);
  EXPECT_EQ(whole.tower_runs, 2);
  EXPECT_EQ(whole.kept, 0) << "a side that is one chunk keeps its tape";
}

TEST_F(FrozenTower, is_run_again_where_its_output_may_change_or_finds_no_room) {
  for (const Trained& trained : {kTowerLora, kLora, kFrozenTowerLora, kLastBlock, kAll}) {
    const Outcome run = in_chunks(trained, 2, kKeptChunkBytes, true);
    EXPECT_EQ(run.tower_runs, 20);
    EXPECT_EQ(run.kept, 0) << "pixels are not kept";
  }
  EXPECT_EQ(in_chunks(kDecoderLora, 2, 0, true).tower_runs, 20);
  const int64_t all = in_chunks(kDecoderLora, 2, kKeptChunkBytes).kept;
  const Outcome half = in_chunks(kDecoderLora, 2, all / 2, true);
  EXPECT_GT(half.tower_runs, 12);
  EXPECT_LT(half.tower_runs, 18);
  EXPECT_LE(half.kept, all / 2);
  EXPECT_GT(half.kept, all / 4);
}

TEST_F(FrozenTower, kept_output_gives_the_same_bits) {
  for (const Trained& trained : {kDecoderLora, kDecoderDora, kTowerLora, kFrozenTowerLora, kDecoder, kAll})
    for (const int64_t chunk : {1, 3}) {
      const std::vector<float> without = in_chunks(trained, chunk, 0).gradients;
      EXPECT_EQ(in_chunks(trained, chunk, kKeptChunkBytes).gradients, without) << chunk;
      EXPECT_EQ(in_chunks(trained, chunk, 3000).gradients, without) << chunk;
    }
}

// What is kept is all that the peak grows by.
TEST_F(FrozenTower, leaves_only_its_output_in_the_batch) {
  const auto model = encoder();
  TokenBatch batch = model->prepare(pairs_.queries);
  ASSERT_TRUE(model->backbone->run_frozen(batch));
  EXPECT_TRUE(batch.seen.defined());
  EXPECT_FALSE(batch.patches.defined());
  for (const Tensor* x : batch.placed->of_see()) EXPECT_FALSE(x->defined());
}

TEST_F(FrozenTower, kept_output_is_counted) {
  const Outcome without = in_chunks(kDecoderLora, 2, 0), with = in_chunks(kDecoderLora, 2, kKeptChunkBytes);
  EXPECT_GT(with.kept, 0);
  EXPECT_LE(with.peak, without.peak + with.kept);
}

}  // namespace
}  // namespace vlm2vec
