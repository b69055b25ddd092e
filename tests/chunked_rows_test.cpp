// Nothing is embedded twice: equal rows are merged, tapes are kept between GradCache's passes, and chunks of tokens
// begin with the longest rows. None of it changes a vector, and tapes change no gradient.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/training/grad_cache.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

using Rows = std::vector<EncoderInput>;

class ChunkedRowsTest : public testing::Test {
 protected:
  ChunkedRowsTest() : folder_("chunked-rows") {
    write_tiny_model(folder_.path());
    pairs_ = tiny_pairs(folder_.path(), 10);
    // Rows 6 to 9 are queries 0 to 3 again; the targets are 0, 1, 2, 0, 1, 2, …
    for (size_t i = 6; i < 10; ++i) copy_row(pairs_.queries, i - 6, i);
    for (size_t i = 3; i < 10; ++i) copy_row(pairs_.targets, i % 3, i);
  }
  static void copy_row(Rows& rows, size_t from, size_t to) {
    const uint64_t id = rows[to].dropout_id;
    rows[to] = rows[from], rows[to].dropout_id = id;
  }

  struct Outcome {
    std::vector<double> gradients;
    double loss = 0;
    int64_t passes = 0, rows = 0, kept_tapes = 0, peak = 0;
    CutTexts cut = {};
  };
  // apart: dropout keeps equal rows apart. No adapter drops anything, unless `lora` has some.
  Outcome step(const ContrastiveOptions& options, bool f64, bool apart, bool lora = false) const {
    const auto encoder = load_encoder(folder_.path(), {.f64 = f64});
    Backbone& backbone = *encoder->backbone;
    std::vector<Parameter*> trained = backbone.parameters();
    AttachedLora adapters;
    if (lora) {
      adapters = attach_lora(backbone, {4, 8.0, 0.3, {"q_proj", "down_proj"}, true}, &backbone.dropout);
      trained = adapters.parameters();
      for (size_t i = 0; i < trained.size(); ++i)
        trained[i]->set(normal_tensor(trained[i]->shape(), 0.2, i, f64 ? DType::f64 : DType::f32, Device::cpu));
      adapters.update();
    }
    backbone.dropout.active = apart, backbone.dropout.seed = 5;
    const TrainedParameters parameters(trained);
    Outcome outcome;
    backbone.trace = [&](const std::string& stage, const Tensor& value) {
      outcome.passes += stage == "input_ids";
      outcome.rows += stage == "embedding" ? value.rows() : 0;
    };
    reset_peak_bytes();
    const ContrastiveResult result = contrastive_step(*encoder, pairs_.queries, pairs_.targets, options);
    outcome.peak = memory_statistics().peak_bytes;
    outcome.gradients = to_vector<double>(parameters.gradients());
    outcome.loss = item(result.loss), outcome.kept_tapes = result.kept_tapes, outcome.cut = result.cut;
    return outcome;
  }
  static double apart(const std::vector<double>& a, const std::vector<double>& b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
    return std::sqrt(difference / size);
  }

  TemporaryFolder folder_;
  TinyPairs pairs_;
};

TEST_F(ChunkedRowsTest, each_distinct_row_comes_once_and_in_order) {
  const auto encoder = load_encoder(folder_.path());
  const ChunkedRows all = chunk_rows(*encoder, pairs_.queries, {});
  EXPECT_EQ(all.places, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3}));
  EXPECT_EQ(all.ends, std::vector<size_t>{6});
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(all.rows[i].text, pairs_.queries[i].text);
  EXPECT_TRUE(all.moved());
  const ChunkedRows chunks = chunk_rows(*encoder, pairs_.queries, {.rows = 4});
  EXPECT_EQ(chunks.ends, (std::vector<size_t>{4, 6}));
  EXPECT_EQ(chunks.chunk(1).size(), 2u);
  EXPECT_EQ(chunks.largest(), 4);

  encoder->backbone->dropout.active = true;
  const ChunkedRows own_masks = chunk_rows(*encoder, pairs_.queries, {});
  EXPECT_EQ(own_masks.rows.size(), 10u);
  EXPECT_FALSE(own_masks.moved());
  Rows same_masks = pairs_.queries;
  for (EncoderInput& row : same_masks) row.dropout_id = 3;
  EXPECT_EQ(chunk_rows(*encoder, same_masks, {}).rows.size(), 6u);
}

TEST(FirstEquals, compares_all_that_a_vector_depends_on) {
  Rows rows(6, EncoderInput{"a", {"1.png"}});
  rows[1].text = "b", rows[2].images = {"2.png"}, rows[3].route = PictureRoute::gme, rows[4].uncounted = true;
  rows[5].row = "row 6 of another set", rows[5].dropout_id = 9;
  EXPECT_EQ(first_equals(rows), (std::vector<size_t>{0, 1, 2, 3, 4, 0}));
  EXPECT_EQ(first_equals(rows, true), (std::vector<size_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(first_equals({}), std::vector<size_t>{});
}

TEST_F(ChunkedRowsTest, of_tokens_begin_with_the_longest_row) {
  const auto encoder = load_encoder(folder_.path());
  const std::vector<int64_t> counts = encoder->processor.token_counts(pairs_.queries);
  for (size_t i = 0; i < counts.size(); ++i)
    EXPECT_EQ(counts[i], encoder->prepare(std::span(pairs_.queries).subspan(i, 1)).ids.numel()) << i;
  const auto most = std::ranges::max(counts);
  for (const int64_t tokens : {int64_t(1), most, 2 * most, int64_t(1000)}) {
    const ChunkedRows chunks = chunk_rows(*encoder, pairs_.queries, {.tokens = tokens});
    EXPECT_EQ(chunks.rows.size(), 6u);
    EXPECT_EQ(chunks.ends.size() == 1, tokens == 1000);
    if (tokens == 1) {
      EXPECT_EQ(chunks.ends.size(), 6u) << "a longer row is alone";
    }
    int64_t before = most;
    for (size_t i = 0; i < chunks.ends.size(); ++i) {
      int64_t sum = 0;
      for (const int64_t count : encoder->processor.token_counts(chunks.chunk(i))) {
        EXPECT_LE(count, before);
        sum += before = count;
      }
      EXPECT_TRUE(sum <= tokens || chunks.chunk(i).size() == 1) << sum << " of " << tokens;
    }
    for (size_t row = 0; row < pairs_.queries.size(); ++row)
      EXPECT_EQ(chunks.rows[size_t(chunks.places[row])].text, pairs_.queries[row].text);
  }
  EXPECT_EQ(chunk_rows(*encoder, pairs_.queries, {.rows = 2, .tokens = 1000}).ends.size(), 3u);
}

TEST_F(ChunkedRowsTest, merged_rows_give_the_gradients_of_rows_apart) {
  for (const int64_t chunk : {0, 2, 4})
    for (const int64_t tokens : {0, 30}) {
      const ContrastiveOptions options{
          .temperature = 0.2, .query_chunk = chunk, .target_chunk = chunk, .chunk_tokens = tokens};
      const Outcome merged = step(options, true, false), own = step(options, true, true);
      EXPECT_LE(apart(merged.gradients, own.gradients), 1e-12) << chunk << ", " << tokens;
      EXPECT_NEAR(merged.loss, own.loss, 1e-12);
      const bool whole = chunk == 0 && tokens == 0;
      EXPECT_EQ(own.rows, whole ? 20 : 40);
      EXPECT_LE(merged.rows, whole ? 9 : 18) << "six queries and three targets; a side may have become one chunk";
      EXPECT_EQ(merged.cut.texts, 20) << "all texts are counted";
    }
  EXPECT_EQ(step({.temperature = 0.2}, false, false).loss, step({.temperature = 0.2}, false, true).loss)
      << "the vectors have the same bits";
}

// A chunk whose tape is kept is embedded once; in f32 all bits are the same.
TEST_F(ChunkedRowsTest, kept_tapes_give_the_same_bits) {
  for (const bool lora : {false, true}) {
    const auto with = [&](int64_t room) {
      return step({.temperature = 0.2, .query_chunk = 2, .target_chunk = 2, .tape_bytes = room}, false, true, lora);
    };
    const Outcome none = with(0), all = with(int64_t(1) << 40), half = with(all.kept_tapes / 2);
    EXPECT_EQ(none.passes, 20);
    EXPECT_EQ(none.kept_tapes, 0);
    EXPECT_EQ(all.passes, 10) << "five chunks of queries and five of targets";
    EXPECT_GT(half.passes, 11);
    EXPECT_LT(half.passes, 19);
    EXPECT_GT(all.peak, half.peak);
    EXPECT_LE(all.peak, none.peak + all.kept_tapes) << "what is counted is all that the peak grows by";
    EXPECT_LE(half.kept_tapes, all.kept_tapes / 2 + all.kept_tapes / 5) << "by one tape too many at most";
    EXPECT_TRUE(all.gradients == none.gradients);
    EXPECT_TRUE(half.gradients == none.gradients);
    EXPECT_EQ(all.loss, none.loss);
  }
}

TEST_F(ChunkedRowsTest, an_embedder_embeds_each_distinct_row_once) {
  ModelOptions options;
  options.model_name = folder_.path();
  for (const char* cache : {"", "cache"}) {
    Embedder embedder(options, cache[0] ? folder_ / cache : std::filesystem::path(), Device::cpu, true);
    const Tensor plain = embed(embedder.encoder(), pairs_.queries, 3);
    int64_t rows = 0;
    embedder.encoder().backbone->trace = [&](const std::string& stage, const Tensor& value) {
      rows += stage == "embedding" ? value.rows() : 0;
    };
    const EmbeddedRows got = embedder.embed(pairs_.queries, 4);
    EXPECT_EQ(rows, 6);
    EXPECT_EQ(to_vector<float>(got.vectors), to_vector<float>(plain));
    EXPECT_EQ(got.cut.texts, 10);
  }
}

}  // namespace
}  // namespace vlm2vec
