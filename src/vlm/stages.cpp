#include "vlm/stages.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace vlm2vec {
namespace {

Tensor on_host(const Tensor& x) {
  if (is_float(x.dtype())) return x.to(DType::f32).to(Device::cpu).clone();
  return from_vector(to_vector<int64_t>(x), x.shape());
}

}  // namespace

Stages stages_of(Encoder& encoder, const EncoderInput& input) {
  using Clock = std::chrono::steady_clock;
  const NoGrad no_grad;
  Stages stages;
  Clock::time_point before = Clock::now();
  try {
    const TokenBatch batch = encoder.prepare({&input, 1});
    stages.cut = !batch.cut.empty();
    encoder.backbone->trace = [&](const std::string& name, const Tensor& value) {
      const double seconds = std::chrono::duration<double>(Clock::now() - before).count();
      stages.list.push_back({name, on_host(value), encoder.backbone->describe(name, batch), seconds});
      before = Clock::now();
    };
    encoder(batch);
  } catch (...) {
    encoder.backbone->trace = nullptr;
    throw;
  }
  encoder.backbone->trace = nullptr;
  Tensor& embedding = stages.list.back().value;
  embedding = embedding.view({embedding.numel()});
  return stages;
}

Image heat_map(const PictureAttribution& picture) {
  Image map = picture.image;
  float largest = 1e-30f;
  for (const float share : picture.shares) largest = std::max(largest, std::abs(share));
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x) {
      const size_t patch =
          size_t(y * picture.rows / map.height) * size_t(picture.columns) + size_t(x * picture.columns / map.width);
      const float share = picture.shares[patch] / largest, strength = 0.75f * std::sqrt(std::abs(share));
      uint8_t* rgb = map.at(y, x);
      const float gray = 0.299f * float(rgb[0]) + 0.587f * float(rgb[1]) + 0.114f * float(rgb[2]);
      const float colour[3] = {share > 0 ? 230.0f : 30.0f, 50.0f, share > 0 ? 30.0f : 230.0f};
      for (int c = 0; c < 3; ++c) rgb[c] = uint8_t(std::lround(gray * (1 - strength) + colour[c] * strength));
    }
  return map;
}

}  // namespace vlm2vec
