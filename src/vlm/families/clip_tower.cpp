// The forward passes and the order of rows; clip_tower.h describes them module by module.
#include "vlm/families/clip_tower.h"

#include <cmath>

namespace vlm2vec {

ClipAttention::ClipAttention(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      out_proj{this, c.packed ? "projection" : "out_proj", c.width, c.width, true},
      shape_{c.heads, c.heads, int(c.width / c.heads), c.causal, 1 / std::sqrt(double(c.width / c.heads))} {
  const auto linear = [&](const char* part, int64_t out) {
    return std::make_unique<Linear>(this, part, c.width, out, true);
  };
  if (c.packed) qkv = linear("qkv", 3 * c.width);
  else k_proj = linear("k_proj", c.width), v_proj = linear("v_proj", c.width), q_proj = linear("q_proj", c.width);
  shape_.k_column = c.packed ? int(c.width) : 0, shape_.v_column = 2 * shape_.k_column;
}

Var ClipAttention::operator()(const Var& x, const ClipRows& rows) const {
  const AttentionShape shape = in_precision_of(*this, shape_);
  if (qkv) return out_proj(attention((*qkv)(x), rows.cu_queries, shape));
  Var k = (*k_proj)(x), v = (*v_proj)(x);
  if (rows.keys) k = gather_rows(k, rows.keys), v = gather_rows(v, rows.keys);
  return out_proj(attention((*q_proj)(x), k, v, rows.cu_queries, rows.cu_keys, shape));
}

ClipMlp::ClipMlp(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      fc1{this, "fc1", c.width, c.mlp_hidden, true},
      fc2{this, "fc2", c.mlp_hidden, c.width, true},
      activation_(c.activation) {}

ClipLayer::ClipLayer(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      self_attn{this, "self_attn", c},
      layer_norm1{this, "layer_norm1", c.width, c.eps},
      mlp{this, "mlp", c},
      layer_norm2{this, "layer_norm2", c.width, c.eps} {}

Var ClipLayer::operator()(const Var& x, const ClipRows& rows) const {
  const auto [h, normed] = layer_norm2.of_sum(x, self_attn(layer_norm1(x), rows));
  return h + mlp(normed);
}

ClipVisionTower::ClipVisionTower(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      patch_embedding(this, "embeddings.patch_embedding.weight", {c.width, 3, c.patch_size, c.patch_size}),
      position_embedding(this, c.packed ? "embeddings.position_embedding" : "embeddings.position_embedding.weight",
                         c.packed ? Shape{1, c.positions, c.width} : Shape{c.positions, c.width}),
      layers{this, "encoder.layers", c.layers, c},
      post_layernorm{this, "post_layernorm", c.width, c.eps} {
  if (c.class_row)
    class_embedding = std::make_unique<Parameter>(this, "embeddings.class_embedding",
                                                  c.packed ? Shape{1, 1, c.width} : Shape{c.width});
  if (c.patch_bias) patch_bias = std::make_unique<Parameter>(this, "embeddings.patch_embedding.bias", Shape{c.width});
  if (c.pre_norm) pre_layrnorm = std::make_unique<LayerNorm>(this, "pre_layrnorm", c.width, c.eps);
}

double tower_std(const ClipTowerConfig& tower, const std::string& path, double embeddings) {
  const auto is = [&](const char* part) { return path.find(part) != path.npos; };
  const double by_width = 1 / std::sqrt(double(tower.width)), by_depth = 1 / std::sqrt(2.0 * tower.layers);
  const double plain = is("class_embedding") || is("out_proj") ? by_width
                       : is("embeddings.")                     ? embeddings
                       : is("fc1")                             ? by_width / std::sqrt(2.0)
                                                               : by_width * by_depth;  // q, k, v and fc2
  return plain * tower.initializer_factor;
}

namespace {

// The row of each of a slice's patches, line by line, among its patches in the batch.
std::vector<int32_t> lines_of_patches(const Grid& grid, int merge) {
  std::vector<int32_t> rows(size_t(grid.h) * size_t(grid.w));
  int32_t n = 0;
  for_each_patch({1, grid.h, grid.w}, merge, [&](int row, int column) { rows[size_t(row * grid.w + column)] = n++; });
  return rows;
}

}  // namespace

std::vector<int64_t> ClipSighted::place_images(TokenBatch& batch, ClipImages& images) const {
  const auto patch_ids = to_vector<int64_t>(batch.patch_dropout_ids),
             seen_ids = to_vector<int64_t>(batch.seen_dropout_ids);
  const int merge = input().merge_size;
  const bool class_row = tower_config().class_row;
  std::vector<int32_t> cu_images{0}, order, positions;
  std::vector<int64_t> row_ids, class_ids;
  int32_t first = 0;
  for (const Grid& grid : batch.grids) {
    const std::vector<int32_t> lines = lines_of_patches(grid, merge);
    for (int t = 0; t < grid.t; ++t, first += int32_t(lines.size())) {
      class_ids.push_back(seen_ids[size_t(first / (merge * merge))]);
      if (class_row) order.push_back(0), positions.push_back(0), row_ids.push_back(class_ids.back());
      for (size_t i = 0; i < lines.size(); ++i) {  // the class row is row 0, patch p row p + 1
        order.push_back(first + lines[i] + class_row), positions.push_back(int32_t(i) + class_row);
        row_ids.push_back(patch_ids[size_t(first + lines[i])]);
      }
      cu_images.push_back(int32_t(order.size()));
    }
  }
  images = {from_vector(cu_images), from_vector(order), from_vector(positions)};
  batch.patch_dropout_ids = from_vector(row_ids);
  return class_ids;
}

Var ClipSighted::run_layers(ModuleList<ClipLayer>& layers, size_t count, Var x, const ClipRows& rows,
                            const std::string& stage) {
  for (size_t i = 0; i < count; ++i) {
    const auto layer = [this, &layer = layers[i], rows](const Var& h) {  // may run again in the backward pass
      const RowScope scope(dropout, rows.dropout_ids);
      return layer(h, rows);
    };
    x = run(layer, x);
    if (trace) trace(stage + std::to_string(i), x.value());
  }
  return x;
}

Var ClipSighted::run_tower(const ClipImages& images, const Tensor& dropout_ids, const Var& patches, size_t count) {
  ClipVisionTower& t = tower();
  const int64_t width = tower_config().width;
  // A convolution with stride = kernel is a product with flattened patches.
  Var x = linear(patches, view(t.patch_embedding, {width, -1}), t.patch_bias ? Var(*t.patch_bias) : Var(),
                 precision() == Precision::bf16_products);
  const DType type = x.value().dtype();
  const Tensor first = from_vector(std::vector<int32_t>{0}, x.value().device());
  if (t.class_embedding) x = concat_rows({gather_rows(view(*t.class_embedding, {1, width}), first, type), x});
  x = gather_rows(x, images.order) + gather_rows(view(t.position_embedding, {-1, width}), images.positions, type);
  if (t.pre_layrnorm) x = (*t.pre_layrnorm)(x);
  if (trace) trace("vision_embed", x.value());
  return run_layers(t.layers, count, x, {images.cu_images, images.cu_images, {}, dropout_ids}, "vision_block_");
}

Tensor ClipSighted::pixel_values(const TokenBatch& batch) const {
  // From lines of patch_size pixels.
  const int32_t p = tower_config().patch_size, side = tower_config().image_size / p, size = side * p;
  std::vector<int32_t> lines;
  int32_t first = 0;
  for (const Grid& grid : batch.grids) {
    const std::vector<int32_t> rows = lines_of_patches(grid, input().merge_size);
    for (int t = 0; t < grid.t; ++t, first += side * side)
      for (int32_t channel = 0; channel < 3; ++channel)
        for (int32_t y = 0; y < size; ++y)
          for (int32_t x = 0; x < side; ++x)
            lines.push_back(((first + rows[size_t(y / p * side + x)]) * 3 + channel) * p + y % p);
  }
  const Tensor order = from_vector(lines, batch.patches.device());
  return gather_rows(batch.patches.view({-1, p}), order).view({-1, 3, size, size});
}

StageNote ClipSighted::describe_tower(const std::string& stage, const ClipImages& images) {
  const ClipTowerConfig& c = tower_config();
  ClipVisionTower& t = tower();
  const int64_t rows = images.order.numel(), patches = rows - (c.class_row ? images.cu_images.numel() - 1 : 0);
  if (stage == "vision_embed") {
    int64_t parameters = count_parameters(t) - count_parameters(t.post_layernorm);
    for (size_t i = 0; i < t.layers.size(); ++i) parameters -= count_parameters(t.layers[i]);
    return {sentence(c.class_row ? "a class row and " : "", "a row for each patch of ", c.patch_size, "x", c.patch_size,
                     " pixels, plus their positions", c.pre_norm ? ", LayerNorm" : ""),
            parameters, 2.0 * double(patches) * double(numel(t.patch_embedding.shape()))};
  }
  ClipLayer& layer = t.layers[size_t(std::stoul(stage.substr(stage.rfind('_') + 1)))];
  return {sentence(c.class_row ? "the class row and " : "", "all patches attend to each other (", c.heads,
                   " heads), then each passes an MLP"),
          count_parameters(layer), product_flops(layer, rows) + attention_flops(images.cu_images, c.width, false)};
}

}  // namespace vlm2vec
