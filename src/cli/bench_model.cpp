// A model with random weights in memory, its inputs, and how fast it embeds them.
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "io/base64.h"
#include "io/files.h"
#include "io/scratch_folder.h"
#include "nn/state.h"
#include "tensor/random.h"
#include "vlm/families/family.h"
#include "vlm/processor_files.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

BenchRow embed_row(Encoder& encoder, const BenchOptions& options, int picture, int64_t text) {
  const EncoderInput input = bench_input(encoder, picture, text, 1);
  const ForwardCost cost = forward_cost(encoder, {&input, 1});
  reset_peak_bytes();
  const Timing timing = measure(options, [&] { embed(encoder, {&input, 1}, 1); });
  const std::string with = picture > 0 ? sentence("a picture of ", picture, "x", picture, " and ") : "";
  return {.name = sentence(with, text, " tokens of text"),
          .flops = cost.tower + cost.decoder,
          .timing = timing,
          .tokens = cost.tokens,
          .peak_bytes = memory_statistics().peak_bytes,
          .sizes = {{"picture", picture}, {"text", text}}};
}

}  // namespace

DType stored_weights(const BenchShape& shape) {
  return nlohmann::json::parse(shape.config).at("torch_dtype") == "bfloat16" ? DType::bf16 : DType::f32;
}

// The folder has no weights: each byte is a token, and any picture of a multiple of the merged patches keeps its size.
std::unique_ptr<Encoder> bench_encoder(const BenchOptions& options) {
  const ScratchFolder folder("bench");
  const auto config_file = folder.path / "config.json";
  nlohmann::json config = nlohmann::json::parse(options.shape->config);
  config["image_token_id"] = 1;
  write_json(config_file, config);
  const Family& family = family_of(config_file);
  const auto rule = new_picture_rule(family, make_backbone(config_file)->input(), 0, 0);
  write_picture_rule(*rule, folder.path);
  write_tokenizer_json(folder.path / "tokenizer.json", train_bpe({}, 258, {"<|endoftext|>", family.image_token}));
  auto encoder = load_encoder(folder.path, {.bf16 = options.bf16, .load_weights = false});
  const DType matrices = stored_weights(*options.shape);
  encoder->backbone->each_parameter([&](Parameter& p) {
    const DType type = p.is_matrix() ? matrices : DType::f32;
    p.set(initial_value(p, encoder->backbone->initial_std(p), 1, type, Device::cpu));
  });
  return encoder;
}

EncoderInput bench_input(const Encoder& encoder, int picture, int64_t text, uint64_t number) {
  Random random(number);
  EncoderInput input{"", {}, number};
  for (int64_t i = 0; i < text; ++i) input.text += char('a' + random.below(26));
  if (picture == 0) return input;
  std::string file = sentence("P6 ", picture, " ", picture, " 255\n");
  for (int i = 0; i < 3 * picture * picture; ++i) file += char(random.below(256));
  input.text = encoder.image_token() + input.text;
  input.images.push_back(
      PictureSource::of_base64(base64({reinterpret_cast<const uint8_t*>(file.data()), file.size()})));
  return input;
}

ForwardCost forward_cost(Encoder& encoder, std::span<const EncoderInput> rows) {
  const NoGrad no_grad;
  const TokenBatch batch = encoder.prepare(rows);
  ForwardCost cost{batch.ids.numel()};
  encoder.backbone->trace = [&](const std::string& stage, const Tensor&) {
    (stage.starts_with("vision_") ? cost.tower : cost.decoder) += encoder.backbone->describe(stage, batch).flops;
  };
  encoder(batch);
  encoder.backbone->trace = nullptr;
  return cost;
}

std::vector<BenchRow> bench_embed(const BenchOptions& options) {
  const auto encoder = bench_encoder(options);
  return {embed_row(*encoder, options, kBenchPicture, kBenchText), embed_row(*encoder, options, 0, kLongBenchText)};
}

}  // namespace vlm2vec
