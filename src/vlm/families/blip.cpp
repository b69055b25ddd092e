// What BLIP-2 and BLIP_FF share; blip.h describes it.
#include "vlm/families/blip.h"

#include <cmath>

namespace vlm2vec {

std::vector<Tensor*> BlipPlacement::of_read() {
  std::vector<Tensor*> all = {&positions,   &text_rows, &first,         &picture_rows, &queries,
                              &cu_queries,  &query_ids, &first_queries, &one_each,     &cu_pictures,
                              &picture_ids, &keys,      &blank_ids};
  for (Tensor* x : blank.tensors()) all.push_back(x);
  return all;
}

InputShape BlipSighted::input() const {
  return {.vocab_size = config_.vocab_size,
          .patch_size = config_.vision.patch_size,
          .image_size = config_.vision.image_size,
          .most_tokens = config_.most_tokens};
}

std::vector<int64_t> BlipSighted::place_both(TokenBatch& batch, BlipPlacement& placed) const {
  const auto cu = to_vector<int32_t>(batch.cu_seqlens);
  const auto dropout_ids = to_vector<int64_t>(batch.dropout_ids);
  std::vector<int32_t> positions, text_rows, first;
  std::vector<int64_t> first_ids;
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    if (cu[row] == cu[row + 1]) continue;
    for (int32_t i = cu[row]; i < cu[row + 1]; ++i) positions.push_back(i - cu[row]);
    text_rows.push_back(int32_t(row)), first.push_back(cu[row]);
    first_ids.push_back(dropout_ids[size_t(cu[row])]);
  }
  placed.positions = from_vector(positions), placed.text_rows = from_vector(text_rows);
  placed.first = from_vector(first), batch.last_dropout_ids = from_vector(first_ids);
  if (!batch.has_pictures()) return {};
  placed.picture_rows = from_vector(batch.picture_rows);
  const std::vector<int64_t> class_ids = place_images(batch, placed.images);
  placed.cu_pictures = placed.images.cu_images.clone();
  placed.picture_ids = batch.seen_dropout_ids = batch.patch_dropout_ids.clone();
  return class_ids;
}

Var BlipSighted::see(const TokenBatch& batch, const Var& patches) {
  const ClipImages& images = batch.placed_as<BlipPlacement>().images;
  const Var x =
      vision_model.post_layernorm(run_tower(images, batch.patch_dropout_ids, patches, vision_model.layers.size()));
  if (trace) trace("vision_final", x.value());
  return x;
}

// As Blip2PreTrainedModel._init_weights of transformers 4.52.3.
double BlipSighted::bert_std(const Parameter& parameter) const {
  const bool vision = parameter.path().starts_with("vision_model.");
  return vision ? config_.vision.initializer_range : config_.text.initializer_range;
}

Var BlipSighted::run_bert(BertLayers& layers, Var x, const BertRows& rows, const Var& pictures,
                          const BertRows& picture_rows, bool queries, const std::string& stage) {
  for (size_t i = 0; i < layers.items.size(); ++i) {
    const auto layer = [this, &layer = *layers.items[i], rows, pictures, picture_rows, queries](const Var& h) {
      return layer(h, rows, pictures, picture_rows, queries, dropout);
    };
    x = run(layer, x);
    if (trace) trace(stage + std::to_string(i), x.value());
  }
  return x;
}

void BlipSighted::trace_inputs(const TokenBatch& batch) const {
  if (batch.ids.numel() > 0) Backbone::trace_inputs(batch);
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote BlipSighted::describe(const std::string& stage, const TokenBatch& batch) {
  if (stage == "input_ids") return {"the text's word pieces in lower case, between [CLS] and [SEP]"};
  if (stage == "pixel_values")
    return {sentence("the picture, resized to ", config_.vision.image_size, "x", config_.vision.image_size,
                     " pixels, normalised: (x/255 - mean)/std")};
  if (stage == "vision_final") return {"LayerNorm of every row", count_parameters(vision_model.post_layernorm)};
  const auto& placed = batch.placed_as<BlipPlacement>();
  return describe_tower(stage, batch.has_pictures() ? placed.images : placed.blank);
}

StageNote BlipSighted::describe_layer(const std::string& text, BertLayers& layers, const std::string& stage,
                                      const Tensor& cu) {
  BertLayer& layer = *layers.items[size_t(std::stoul(stage.substr(stage.rfind('_') + 1)))];
  const auto ends = to_vector<int64_t>(cu);
  return {text, count_parameters(layer),
          product_flops(layer, ends.back()) + attention_flops(cu, config_.text.width, false)};
}

}  // namespace vlm2vec
