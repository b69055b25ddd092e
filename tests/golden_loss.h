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

  // The embeddings, and the loss's gradients with respect to them.
  void compare_embeddings(Encoder& encoder, std::span<const EncoderInput> queries,
                          std::span<const EncoderInput> targets) const {
    const Var q = Var::leaf(embed(encoder, queries, 3)), t = Var::leaf(embed(encoder, targets, 3));
    EXPECT_LE(distance(q.value(), reference.at(prefix_ + "query")), 1e-5);
    EXPECT_LE(distance(t.value(), reference.at(prefix_ + "target")), 1e-5);
    info_nce(q, t, all.at("temperature")).loss.backward();
    EXPECT_LE(distance(q.grad(), reference.at(prefix_ + "d_query")), 5e-4);
    EXPECT_LE(distance(t.grad(), reference.at(prefix_ + "d_target")), 5e-4);
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
        EXPECT_LE(norm, 1e-3);
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

  const nlohmann::json all, facts;
  const NamedTensors reference;

 private:
  const double limit_;
  const std::string prefix_, names_;
};

}  // namespace vlm2vec
