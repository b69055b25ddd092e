// Qwen2-VL looked at: what each stage does and costs, and what in an input carries a score.
#include "tensor/io/files.h"
#include "vlm/qwen2_vl.h"

namespace vlm2vec {
namespace {

int64_t count(Module& module) {
  int64_t n = 0;
  module.each_parameter([&](Parameter& p) { n += numel(p.shape()); });
  return n;
}

// Of the products of `rows` rows with every matrix of the module.
double products(Module& module, int64_t rows) {
  double flops = 0;
  module.each_parameter(
      [&](Parameter& p) { flops += p.is_matrix() ? 2.0 * double(rows) * double(numel(p.shape())) : 0; });
  return flops;
}

// q kᵀ and its product with v, in sequences of these lengths; a causal mask leaves half of each.
double attention_flops(const Tensor& cu_seqlens, int64_t width, bool causal) {
  const auto cu = to_vector<int64_t>(cu_seqlens);
  double pairs = 0;
  for (size_t i = 1; i < cu.size(); ++i) {
    const double n = double(cu[i] - cu[i - 1]);
    pairs += causal ? n * (n + 1) / 2 : n * n;
  }
  return 4 * pairs * double(width);
}

}  // namespace

StageNote Qwen2Vl::describe(const std::string& stage, const Batch& any_batch) {
  const auto& batch = static_cast<const Qwen2VlBatch&>(any_batch);
  const VisionConfig& v = config_.vision;
  const DecoderConfig& t = config_.text;
  const int64_t tokens = batch.ids.numel(), patches = batch.vision.patches ? batch.vision.patches.rows() : 0;
  const int merge = v.spatial_merge_size;
  if (stage == "input_ids")
    return {sentence("the prompt as byte-pair tokens; ", batch.image_rows ? batch.image_rows.numel() : 0,
                     " of them stand for ", merge, "x", merge, " patches of a picture each")};
  if (stage == "position_ids")
    return {
        "of each token, in time, height and width: equal for text; M-RoPE turns a part of each head by each of the "
        "three"};
  if (stage == "image_grid_thw") return {"of each picture: frames, rows and columns of patches"};
  if (stage == "pixel_values")
    return {sentence("the resized picture in patches of ", v.patch_size, "x", v.patch_size,
                     " pixels, normalised: (x/255 - mean)/std")};
  if (stage.starts_with("vision_block_")) {
    VisionBlock& block = visual.blocks[size_t(std::stoul(stage.substr(13)))];
    const bool first = stage == "vision_block_0";  // with the embedding of the patches
    return {sentence("patches have become vectors; all of a picture attend to each other (", v.num_heads,
                     " heads), then each passes an MLP"),
            count(block) + (first ? count(visual.patch_embed) : 0),
            products(block, patches) + attention_flops(batch.vision.cu_seqlens, v.embed_dim, false) +
                (first ? products(visual.patch_embed, patches) / double(v.temporal_patch_size) : 0)};
  }
  if (stage == "vision_merger")
    return {sentence(merge, "x", merge, " patches become one vector as wide as the decoder's"), count(visual.merger),
            products(visual.merger, patches / (merge * merge))};
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table; pictures' vectors in the places of their tokens",
            count(model.embed_tokens)};
  if (stage.starts_with("hidden_layer_")) {
    DecoderLayer& layer = model.layers[size_t(std::stoul(stage.substr(13)))];
    return {sentence("each token attends to itself and those before it (", t.num_attention_heads, " heads of queries, ",
                     t.num_key_value_heads, " of keys and values), then passes a SwiGLU MLP"),
            count(layer),
            products(layer, tokens) +
                attention_flops(batch.tokens.cu_seqlens, int64_t(t.num_attention_heads) * t.head_dim, true)};
  }
  if (stage == "hidden_final") return {"RMSNorm of every token", count(model.norm)};
  return {"the last token alone, divided by its length: the embedding of the input"};
}

Attribution Qwen2Vl::attribute(const EncoderInput& row, const Tensor& target) {
  const auto any_batch = prepare({&row, 1});
  const auto& batch = static_cast<const Qwen2VlBatch&>(*any_batch);
  const Var words = Var::leaf(model.embed_tokens(batch.ids).value());
  const Var patches = batch.vision.patches ? Var::leaf(batch.vision.patches) : Var();
  const Var embedding = forward(batch, words, patches);
  const Tensor t = target.view({1, dim()}).to(dtype_).to(device_);
  embedding.backward(t);

  Attribution result;
  const auto y = to_vector<double>(embedding.value()), seed = to_vector<double>(t);
  for (size_t i = 0; i < y.size(); ++i) result.score += y[i] * seed[i];
  const auto shares = [](const Var& x) {  // of each row
    std::vector<float> sums(size_t(x.value().rows()), 0.0f);
    if (!x.grad()) return sums;
    const auto value = to_vector<double>(x.value()), gradient = to_vector<double>(x.grad());
    const size_t columns = value.size() / sums.size();
    for (size_t r = 0; r < sums.size(); ++r) {
      double sum = 0;
      for (size_t c = r * columns; c < (r + 1) * columns; ++c) sum += value[c] * gradient[c];
      sums[r] = float(sum);
    }
    return sums;
  };
  const std::vector<float> of_words = shares(words);
  const auto ids = to_vector<int64_t>(batch.ids);
  for (size_t i = 0; i < ids.size(); ++i)
    if (row.images.empty() || ids[i] != config_.image_token_id)
      result.words.emplace_back(tokenizer_.token(int32_t(ids[i])), of_words[i]);
  if (row.images.empty()) return result;
  const std::vector<float> of_patches = shares(patches);
  size_t patch = 0;
  for (const std::filesystem::path& path : row.images) {
    const auto image = images_->get(path, processor_);
    const Grid grid = grid_of(*image, processor_);
    PictureAttribution picture{*image, grid.h, grid.w, std::vector<float>(size_t(grid.h) * size_t(grid.w))};
    for_each_patch(grid, processor_.merge_size,
                   [&](int y, int x) { picture.shares[size_t(y) * size_t(grid.w) + size_t(x)] = of_patches[patch++]; });
    result.pictures.push_back(std::move(picture));
  }
  return result;
}

}  // namespace vlm2vec
