// GradCache gives the gradients of the whole batch, for any chunk size, and its memory does not grow with the batch.
#include "mmeb/training/grad_cache.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/adapters.h"
#include "nn/optim.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

struct Setting {
  bool lora, f64;
  double limit;
  bool dora = false;
};

std::vector<double> gradients(const TemporaryFolder& folder, const Setting& s, const TinyPairs& pairs, int64_t chunk,
                              bool checkpointing = false, const Matching& matching = {}) {
  const auto encoder = load_encoder(folder.path(), {.f64 = s.f64});
  std::vector<Parameter*> trained = encoder->backbone->parameters();
  AttachedLora lora;
  if (s.lora) {
    lora = attach_lora(*encoder->backbone, {4, 8.0, 0.3, {"q_proj", "v_proj", "down_proj", "fc1", "proj"}, s.dora},
                       &encoder->backbone->dropout);
    trained = lora.parameters();
    const DType dtype = s.f64 ? DType::f64 : DType::f32;
    for (size_t i = 0; i < trained.size(); ++i)
      trained[i]->set(normal_tensor(trained[i]->shape(), 0.2, i, dtype, Device::cpu));  // B = 0 would hide A
    lora.update();
    encoder->backbone->dropout.active = true, encoder->backbone->dropout.seed = 5;
  }
  encoder->backbone->gradient_checkpointing = checkpointing;
  const TrainedParameters parameters(trained);
  contrastive_step(*encoder, pairs.queries, pairs.targets,
                   {.temperature = 0.2, .query_chunk = chunk, .target_chunk = chunk, .matching = matching});
  return to_vector<double>(parameters.gradients());
}

double relative_l2(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}

class GradCache : public testing::TestWithParam<Setting> {};

TEST_P(GradCache, equals_the_whole_batch) {
  const TemporaryFolder folder("grad-cache");
  write_tiny_model(folder.path());
  const TinyPairs pairs = tiny_pairs(folder.path(), 20);
  const auto plain = gradients(folder, GetParam(), pairs, 0);
  for (const int64_t chunk : {1, 3, 8})
    EXPECT_LE(relative_l2(gradients(folder, GetParam(), pairs, chunk), plain), GetParam().limit) << "chunk " << chunk;
  EXPECT_LE(relative_l2(gradients(folder, GetParam(), pairs, 0, true), plain), GetParam().limit)
      << "gradient checkpointing";
}

INSTANTIATE_TEST_SUITE_P(, GradCache,
                         testing::Values(Setting{false, true, 1e-12}, Setting{true, true, 1e-12},
                                         Setting{false, false, 1e-5}, Setting{true, false, 1e-5},
                                         Setting{true, false, 1e-5, true}),
                         [](const auto& info) {
                           return std::string(info.param.dora   ? "dora"
                                              : info.param.lora ? "lora"
                                                                : "full") +
                                  (info.param.f64 ? "_f64" : "_f32");
                         });

// Three targets more than queries are hard negatives of all; with groups some targets do not count.
TEST(GradCacheNegatives, equal_the_whole_batch) {
  const TemporaryFolder folder("negatives");
  write_tiny_model(folder.path());
  TinyPairs pairs = tiny_pairs(folder.path(), 7);
  pairs.queries.resize(4);
  const Tensor labels = from_vector(std::vector<int32_t>{0, 1, 2, 3}, {4}),
               groups = from_vector(std::vector<int32_t>{0, 1, 0, 3, 1, 5, 0}, {7});
  const Setting f64{false, true, 1e-12};
  std::vector<std::vector<double>> plain;
  for (const Matching& matching : {Matching{labels, {}}, Matching{labels, groups}}) {
    plain.push_back(gradients(folder, f64, pairs, 0, false, matching));
    for (const int64_t chunk : {1, 3})
      EXPECT_LE(relative_l2(gradients(folder, f64, pairs, chunk, false, matching), plain.back()), f64.limit) << chunk;
  }
  EXPECT_GT(relative_l2(plain[0], plain[1]), 1e-3);  // the groups matter
  pairs.targets.resize(4);
  EXPECT_GT(relative_l2(gradients(folder, f64, pairs, 0), plain[0]), 1e-3);  // and so do the negatives
}

// The dropout of a row is its own: another seed draws other masks.
TEST(GradCacheDropout, follows_the_seed) {
  const TemporaryFolder folder("dropout");
  write_tiny_model(folder.path());
  const TinyPairs pairs = tiny_pairs(folder.path(), 3);
  const auto encoder = load_encoder(folder.path());
  const AttachedLora lora = attach_lora(*encoder->backbone, {4, 8.0, 0.3, {"q_proj"}}, &encoder->backbone->dropout);
  for (Parameter* p : lora.parameters()) p->set(normal_tensor(p->shape(), 0.2, 1, DType::f32, Device::cpu));
  const auto with = [&](bool active, uint64_t seed) {
    encoder->backbone->dropout.active = active, encoder->backbone->dropout.seed = seed;
    return to_vector<float>((*encoder)(encoder->prepare(pairs.queries)).value());
  };
  EXPECT_EQ(with(true, 1), with(true, 1));
  EXPECT_NE(with(true, 1), with(true, 2));
  EXPECT_NE(with(true, 1), with(false, 1));
}

TEST(GradCacheMemory, does_not_grow_with_the_batch) {
  const TemporaryFolder folder("memory");
  write_tiny_model(folder.path(), 64);
  write_png(folder.path() / "same.png", plain_image(64, 64, 100));
  const EncoderInput same{"<|image_pad|>\na red cat\n", {folder.path() / "same.png"}, 0};
  const auto encoder = load_encoder(folder.path());
  encoder->backbone->dropout.active = true;
  const TrainedParameters parameters(encoder->backbone->parameters());
  const auto peak = [&](size_t pairs) {
    std::vector<EncoderInput> rows(pairs, same);
    for (size_t i = 0; i < pairs; ++i) rows[i].dropout_id = i;  // keeps them apart
    reset_peak_bytes();
    contrastive_step(*encoder, rows, rows, {.temperature = 0.2, .query_chunk = 8, .target_chunk = 8});
    return memory_statistics().peak_bytes;
  };
  peak(64);
  const int64_t small = peak(64), large = peak(512);
  EXPECT_LE(double(large), 1.02 * double(small) + 16384.0 * (512 - 64));
}

}  // namespace
}  // namespace vlm2vec
