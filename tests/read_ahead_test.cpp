// Rows are read while the model computes, in the order and with the errors of a program that reads them when needed.
#include <numeric>

#include "expect_error.h"
#include "mmeb/training/training_run.h"
#include "no_threads.h"
#include "trainer_fixture.h"
#include "vlm/image/image_cache.h"
#include "wait_until.h"

namespace vlm2vec {
namespace {

// Ten rows with a picture each, all different, and a model that says how much of them has been decoded.
class ReadAhead : public testing::Test {
 protected:
  static constexpr size_t kRows = 10;
  ReadAhead() : folder_("read-ahead"), images_(std::make_shared<ImageCache>(kImageCacheBytes)) {
    write_tiny_model(folder_.path());
    for (size_t i = 0; i < kRows; ++i) {
      write_png(folder_ / picture(i), plain_image(16, 16, uint8_t(i)));
      rows_.push_back({"<|image_pad|>\na thing\n", {folder_ / picture(i)}, i, sentence("row ", i + 1)});
    }
    encoder_ = load_encoder(folder_.path(), {.images = images_});
    trained_.emplace(encoder_->backbone->parameters());
  }
  static std::string picture(size_t i) { return sentence(i, ".png"); }
  int64_t decoded() const { return images_->bytes() / (16 * 16 * 3); }
  // Before the model's n-th pass (from 1), waits until `most` pictures are decoded at least. Then there are no more.
  void expect_decoded(std::function<int64_t(int64_t n)> most) {
    encoder_->backbone->trace = [this, most](const std::string& stage, const Tensor&) {
      if (stage != "input_ids") return;
      const int64_t expected = most(++passes_);
      EXPECT_TRUE(wait_until([&] { return decoded() >= expected; })) << "pass " << passes_;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      EXPECT_EQ(decoded(), expected) << "pass " << passes_;
    };
  }

  TemporaryFolder folder_;
  std::shared_ptr<ImageCache> images_;
  std::vector<EncoderInput> rows_;
  std::unique_ptr<Encoder> encoder_;
  std::optional<TrainedParameters> trained_;
  int64_t passes_ = 0;
};

TEST_F(ReadAhead, EmbeddingReadsTheNextBatchAndNoFurther) {
  expect_decoded([](int64_t pass) { return std::min<int64_t>(2 * pass + 2, kRows); });
  const Tensor ahead = embed(*encoder_, rows_, 2);
  EXPECT_EQ(passes_, 5);
  encoder_->backbone->trace = {};
  EXPECT_EQ(to_vector<float>(embed(*encoder_, rows_, kRows)), to_vector<float>(ahead));
}

TEST_F(ReadAhead, EmbeddingMeetsABadRowAtItsTurn) {
  write_text(folder_ / picture(7), "no picture");
  expect_decoded([](int64_t pass) { return std::min<int64_t>(pass + 1, 7); });
  expect_error(Exit::data, "row 8: ", [&] { embed(*encoder_, rows_, 1); });
  EXPECT_EQ(passes_, 7);
}

TEST_F(ReadAhead, AStepReadsTheNextChunkAndNoFurther) {
  const std::span rows = rows_;
  expect_decoded([](int64_t pass) { return std::min<int64_t>(pass + 1, kRows); });  // two passes of ten chunks
  std::vector<int64_t> then;
  contrastive_step(*encoder_, rows.first(6), rows.subspan(6),
                   {.query_chunk = 1, .target_chunk = 1, .matching = {from_vector<int32_t>({0, 1, 2, 3, 0, 1}), {}},
                    .then = [&] { then.push_back(passes_); }});
  EXPECT_EQ(passes_, 20);
  EXPECT_EQ(then, std::vector<int64_t>{19}) << "once, with the last chunk of the second pass";
}

TEST_F(ReadAhead, TheNextStepIsReadAsSoonAsNoChunkIsLeft) {
  const std::span rows = rows_;
  const auto passes_before = [&](bool tower, int64_t chunk, bool first) {
    const auto encoder = load_encoder(folder_.path());
    std::vector<Parameter*> parameters = encoder->backbone->parameters();
    std::erase_if(parameters, [&](const Parameter* p) { return !tower && p->path().starts_with("visual."); });
    const TrainedParameters trained(parameters);
    encoder->backbone->trace = [&](const std::string& stage, const Tensor&) { passes_ += stage == "input_ids"; };
    passes_ = 0;
    int64_t at = -1;
    FirstChunks read;
    if (first)
      read = read_first_chunks(*encoder, rows.first(5), rows.subspan(5),
                               {.query_chunk = chunk, .target_chunk = chunk});
    contrastive_step(*encoder, rows.first(5), rows.subspan(5),
                     {.query_chunk = chunk, .target_chunk = chunk,
                      .matching = {from_vector<int32_t>({0, 1, 2, 3, 4}), {}},
                      .then = [&] { at = passes_; }},
                     std::move(read));
    return at;
  };
  EXPECT_EQ(passes_before(true, 0, true), 0) << "both sides have been read";
  EXPECT_EQ(passes_before(true, 0, false), 1);
  EXPECT_EQ(passes_before(true, 2, true), 11) << "with the last of the second pass";
  EXPECT_EQ(passes_before(false, 2, true), 5) << "all chunks are kept, once the last has been seen";
}

using ReadAheadRun = Trainer;

TEST_F(ReadAheadRun, TheNextBatchIsReadWhileTheModelComputes) {
  for (const int64_t accumulation : {1, 2}) {
    TrainOptions o = options(sentence("run", accumulation));
    o.max_steps = 3, o.gradient_accumulation_steps = accumulation;
    int64_t passes = 0;
    const auto step = [&](TrainerRun& run, int64_t number) {
      run.model.encoder->backbone->trace = [&](const std::string& stage, const Tensor&) {
        if (stage != "input_ids") return;
        if (++passes == 2 * accumulation * o.max_steps || passes == 2 * accumulation * o.max_steps - 1)
          EXPECT_FALSE(run.next) << "there is no batch after the run's last";
        else EXPECT_TRUE(wait_until([&] { return run.next.ready(); })) << passes;
      };
      return train_step(run, number);
    };
    run_steps(*prepare_run(o, Device::cpu, true), step);
    EXPECT_EQ(passes, 2 * accumulation * o.max_steps);
  }
}

TEST_F(ReadAheadRun, GivesTheBitsOfARunWithoutThreads) {
  for (TrainOptions o : {options("threads"), lora("threads-lora")}) {
    o.gradient_accumulation_steps = 2, o.max_steps = 4;
    train(o, Device::cpu, true);
    const fs::path with = o.output_dir;
    o.output_dir += "-none";
    without_threads([&] { return train(o, Device::cpu, true).steps; });
    const char* file = o.lora ? "adapter_model.safetensors" : "model.safetensors";
    EXPECT_TRUE(read_text(with / file) == read_text(fs::path(o.output_dir) / file)) << o.output_dir;
  }
}

TEST_F(ReadAheadRun, MeetsABadRowAtTheStepThatNeedsIt) {
  std::vector<std::vector<int>> batches(5);
  for (int i = 0; i < 5; ++i) batches[size_t(i)] = {2 * i, 2 * i + 1};
  write_json(folder_ / "batches.json", batches);
  for (const int64_t chunk : {0, 1}) {
    TrainOptions o = options(sentence("run", chunk));
    o.dataset_name = "", o.train_file = folder_ / "data/A/original.jsonl", o.image_dir = folder_ / "data";
    o.batches = folder_ / "batches.json", o.per_device_train_batch_size = TrainOptions().per_device_train_batch_size;
    o.max_steps = 5, o.warmup_steps = 0, o.gc_q_chunk_size = o.gc_p_chunk_size = chunk;
    const auto run = prepare_run(o, Device::cpu, true);  // the plan has read all rows
    const std::string sound = read_text(folder_ / "data/images/A6.png");
    write_text(folder_ / "data/images/A6.png", "no picture");
    const std::string name = fs::path(o.output_dir).filename();
    expect_error(Exit::data, "row 7 of ", [&] { run_steps(*run); });
    EXPECT_EQ(log(name).size(), 3u);
    EXPECT_TRUE(fs::exists(folder_ / name / "checkpoint-3"));
    write_text(folder_ / "data/images/A6.png", sound);
  }
}

}  // namespace
}  // namespace vlm2vec
