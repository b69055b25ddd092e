#include "vlm/families/clip.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"

namespace vlm2vec {

// CLIPPreTrainedModel._init_weights of transformers 4.52.3. CLIPConfig has no factor of its own: it sets 1.
double Clip::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  const auto is = [&](const char* part) { return path.find(part) != path.npos; };
  if (is("text_projection")) return 1 / std::sqrt(double(config_.text.width));
  if (is("visual_projection")) return 1 / std::sqrt(double(config_.vision.width));
  const bool text = is("text_model.");
  return tower_std(text ? config_.text : config_.vision, path, text ? 0.02 : config_.vision.initializer_range);
}

const TensorNames& Clip::names() const {
  static const TensorNames names{.ignored = {{"embeddings.position_ids", "positions are counted"}},
                                 .embedding = "text_model.embeddings.token_embedding.weight",
                                 .image_encoder = "vision_model"};
  return names;
}

size_t Clip::pooled_token(std::span<const int32_t> ids) const {
  constexpr int64_t legacy = 2;
  const bool largest = config_.eos_token_id == legacy;
  const auto end = largest ? std::ranges::max_element(ids) : std::ranges::find(ids, int32_t(config_.eos_token_id));
  if (end == ids.end())
    fail(Exit::data, "config.json: eos_token_id of text_config is ", config_.eos_token_id,
         ", but the tokenizer ends no text with that token; do the two belong together?");
  return size_t(end - ids.begin());
}

Var Clip::pooled_pictures(const ClipImages& images, const Var& rows) {
  const Tensor& cu = images.cu_images;
  return vision_model.post_layernorm(gather_rows(rows, cu.rows(0, cu.numel() - 1)));
}

StageNote Clip::describe_pooled(const ClipImages&) {
  return {"the class row alone stands for the picture, LayerNorm", count_parameters(vision_model.post_layernorm)};
}

StageNote Clip::describe(const std::string& stage, const TokenBatch& batch) {
  if (stage == "input_ids") return {"the text as byte-pair tokens of its lower case, between a begin and an end token"};
  if (stage == "pixel_values")
    return {sentence("the picture's middle, ", config_.vision.image_size, "x", config_.vision.image_size,
                     " pixels of it after its shorter side was resized to that, normalised: (x/255 - mean)/std")};
  return DualEncoder::describe(stage, batch);
}

}  // namespace vlm2vec
