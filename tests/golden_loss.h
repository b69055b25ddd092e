// Loss and gradients of a contrastive step against reference data: loss.json and loss.safetensors of a family.
#pragma once
#include <nlohmann/json.hpp>

#include "golden_compare.h"
#include "io/files.h"
#include "mmeb/training/grad_cache.h"
#include "nn/optim.h"
#include "nn/tensor_names.h"
#include "tensor/finite.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {

class GoldenLoss {
 public:
  // `adapter`: lora or dora; "": the whole model is trained. `limit`: of a gradient's relative L2 distance.
  GoldenLoss(const std::filesystem::path& folder, double limit, const std::string& adapter = "")
      : all(read_json(folder / "loss.json")),
        facts(adapter.empty() ? all : all.at("adapters").at(adapter)),
        reference(load_safetensors(folder / "loss.safetensors")),
        limit_(limit),
        prefix_(adapter.empty() ? "" : adapter + "/"),
        names_(adapter.empty() ? "" : kPeftPrefix) {}

  struct Limits {
    double vectors, logits, d_logits, d_vectors;  // the largest difference of one of their numbers
  };
  // The embeddings, their scores divided by the temperature, and the loss's gradients with respect to both.
  void compare_embeddings(Encoder& encoder, std::span<const EncoderInput> queries,
                          std::span<const EncoderInput> targets, const Limits& limits) const {
    const double temperature = all.at("temperature");
    const auto within = [&](const char* name, const Tensor& ours, double limit) {
      EXPECT_LE(distance(ours, reference.at(prefix_ + name)), limit) << prefix_ << name;
    };
    const Var q = Var::leaf(embed(encoder, queries, 3)), t = Var::leaf(embed(encoder, targets, 3));
    within("query", q.value(), limits.vectors), within("target", t.value(), limits.vectors);
    info_nce(q, t, temperature).loss.backward();
    within("d_query", q.grad(), limits.d_vectors), within("d_target", t.grad(), limits.d_vectors);
    const Var logits =
        Var::leaf(scale(matmul(q.value(), t.value(), false, true), 1 / temperature));
    const Tensor unit = zeros(logits.shape(), DType::f32, Device::cpu);
    for (int64_t i = 0; i < unit.rows(); ++i) unit.data<float>()[i * unit.columns() + i] = 1;
    info_nce(logits, unit.to(logits.value().device()), 1).loss.backward();
    within("logits", logits.value(), limits.logits), within("d_logits", logits.grad(), limits.d_logits);
  }

  // A step in chunks; 0: all at once.
  void compare_step(Encoder& encoder, const std::vector<Parameter*>& trained, std::span<const EncoderInput> queries,
                    std::span<const EncoderInput> targets, int64_t chunk, double loss_limit) const {
    const TrainedParameters parameters(trained);
    const ContrastiveOptions options{
        .temperature = all.at("temperature"), .query_chunk = chunk, .target_chunk = chunk};
    EXPECT_NEAR(item(contrastive_step(encoder, queries, targets, options).loss), facts.at("loss").get<double>(),
                loss_limit);
    size_t compared = 0;
    double largest = 0;
    for (const Parameter* p : trained) {
      const std::string name = names_ + p->path();
      SCOPED_TRACE(name);
      const Tensor gradient = static_cast<const Var&>(*p).grad().to(Device::cpu);
      const double norm = std::sqrt(sum_of_squares(gradient));
      const nlohmann::json& norms = facts.at("gradient_norms");
      if (facts.contains("only_rounding") && facts["only_rounding"].contains(name)) {
        EXPECT_LE(norm, rounding);
      } else if (!norms.contains(name)) {
        EXPECT_EQ(norm, 0) << "the reference has none";
      } else {
        EXPECT_NEAR(norm / norms.at(name).get<double>(), 1, limit_);
        const auto rows = reference.find(prefix_ + "gradient_rows/" + name);
        const Tensor ours = rows == reference.end() ? gradient : select(gradient, rows->second);
        const double apart = relative_distance(ours, reference.at(prefix_ + "gradient/" + name));
        EXPECT_LE(apart, limit_);
        largest = worse(largest, apart), ++compared;
      }
    }
    EXPECT_EQ(compared, facts.at("gradient_norms").size());
    testing::Test::RecordProperty(prefix_ + "gradients", std::to_string(largest));
  }

  double rounding = 1e-3;  // the largest norm of a gradient that is rounding alone
  const nlohmann::json all, facts;
  const NamedTensors reference;

 private:
  const double limit_;
  const std::string prefix_, names_;
};

}  // namespace vlm2vec
