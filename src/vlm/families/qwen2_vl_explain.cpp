// Qwen2-VL looked at: what each stage does and costs, and what in an input carries a score.
#include "io/files.h"
#include "vlm/families/qwen2_vl.h"

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
    return {sentence("the prompt as byte-pair tokens, of which those of pictures (",
                     batch.image_rows ? batch.image_rows.numel() : 0, ") stand for ", merge, "x", merge,
                     " patches each")};
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
    return {sentence("patches have become vectors; ", "all of a picture attend to each other (", v.num_heads,
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

namespace {

constexpr int kPathSteps = 32;

// x from `from` to `to` by the straight way, and the mean of the gradients on it.
struct Path {
  std::vector<double> from, to, gradient;
  Var at(const Tensor& like, double way) const {
    std::vector<double> values(to.size());
    for (size_t i = 0; i < to.size(); ++i) values[i] = from[i] + way * (to[i] - from[i]);
    return Var::leaf(from_vector(values, like.shape(), Device::cpu).to(like.dtype()).to(like.device()));
  }
  void add(const Var& x) {
    if (!x.grad()) return;
    const auto g = to_vector<double>(x.grad());
    for (size_t i = 0; i < g.size(); ++i) gradient[i] += g[i] / kPathSteps;
  }
  std::vector<float> shares(size_t rows) const {
    std::vector<float> sums(rows, 0.0f);
    const size_t columns = to.size() / std::max<size_t>(1, rows);
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t i = r * columns; i < (r + 1) * columns; ++i) sum += (to[i] - from[i]) * gradient[i];
      sums[r] = float(sum);
    }
    return sums;
  }
};

Path path_between(std::vector<double> from, const Tensor& to) {
  return {std::move(from), to_vector<double>(to), std::vector<double>(size_t(to.numel()), 0.0)};
}

// Each picture in one colour, its mean. (Not a fixed gray: normalised that is zero, and the layer norm behind the patch
// embedding would hide the way from zero to the picture.)
std::vector<double> mean_colours(const Tensor& patches, const Tensor& cu_seqlens) {
  std::vector<double> values = to_vector<double>(patches);
  const auto cu = to_vector<int64_t>(cu_seqlens);
  const size_t columns = size_t(patches.columns()), pixels = columns / 3;  // of a patch: all red ones, then green, blue
  for (size_t picture = 0; picture + 1 < cu.size(); ++picture)
    for (size_t channel = 0; channel < 3; ++channel) {
      double sum = 0;
      const auto each = [&](auto&& f) {
        for (size_t row = size_t(cu[picture]); row < size_t(cu[picture + 1]); ++row)
          for (size_t i = 0; i < pixels; ++i) f(values[row * columns + channel * pixels + i]);
      };
      each([&](double& value) { sum += value; });
      const double mean = sum / (double(cu[picture + 1] - cu[picture]) * double(pixels));
      each([&](double& value) { value = mean; });
    }
  return values;
}

}  // namespace

Attribution Qwen2Vl::attribute(const EncoderInput& row, const Tensor& target) {
  const auto any_batch = prepare({&row, 1});
  const auto& batch = static_cast<const Qwen2VlBatch&>(*any_batch);
  const bool pictured = batch.vision.patches.defined();
  const std::vector<int32_t> blanks(size_t(batch.ids.numel()), tokenizer_.encode(" ").at(0));
  const Tensor words = model.embed_tokens(batch.ids).value(), patches = batch.vision.patches;
  Path of_words = path_between(
           to_vector<double>(model.embed_tokens(from_vector(blanks, {batch.ids.numel()}, device_)).value()), words),
       of_patches;
  if (pictured) of_patches = path_between(mean_colours(patches, batch.vision.cu_seqlens), patches);
  const Tensor t = target.view({1, dim()}).to(dtype_).to(device_);
  const auto embedded = [&](const Var& w, const Var& p) { return forward(batch, w, pictured ? p : Var()); };
  const auto score_at = [&](double way) {
    const NoGrad no_grad;
    const auto y = to_vector<double>(
                   embedded(of_words.at(words, way), pictured ? of_patches.at(patches, way) : Var()).value()),
               seed = to_vector<double>(t);
    double score = 0;
    for (size_t i = 0; i < y.size(); ++i) score += y[i] * seed[i];
    return score;
  };

  Attribution result{score_at(1), score_at(0), {}, {}};
  for (int step = 0; step < kPathSteps; ++step) {
    const double way = (step + 0.5) / kPathSteps;
    const Var w = of_words.at(words, way), p = pictured ? of_patches.at(patches, way) : Var();
    embedded(w, p).backward(t);
    of_words.add(w);
    if (pictured) of_patches.add(p);
  }
  const std::vector<float> word_shares = of_words.shares(size_t(batch.ids.numel()));
  const auto ids = to_vector<int64_t>(batch.ids);
  for (size_t i = 0; i < ids.size(); ++i)
    if (row.images.empty() || ids[i] != config_.image_token_id)
      result.words.emplace_back(tokenizer_.token(int32_t(ids[i])), word_shares[i]);
  if (row.images.empty()) return result;
  const std::vector<float> patch_shares = of_patches.shares(size_t(patches.rows()));
  size_t patch = 0;
  for (const PictureSource& source : row.images) {
    const auto image = images_->get(source, processor_);
    const Grid grid = grid_of(*image, processor_);
    PictureAttribution picture{*image, grid.h, grid.w, std::vector<float>(size_t(grid.h) * size_t(grid.w))};
    for_each_patch(grid, processor_.merge_size, [&](int y, int x) {
      picture.shares[size_t(y) * size_t(grid.w) + size_t(x)] = patch_shares[patch++];
    });
    result.pictures.push_back(std::move(picture));
  }
  return result;
}

}  // namespace vlm2vec
