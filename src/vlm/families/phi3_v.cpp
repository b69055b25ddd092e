// The forward passes and the order of rows; phi3_v.h describes them module by module.
#include "vlm/families/phi3_v.h"

#include <cmath>

#include "vlm/decode.h"
#include "vlm/image/hd_transform.h"

namespace vlm2vec {

Phi3Attention::Phi3Attention(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      o_proj{this, "o_proj", int64_t(c.num_attention_heads) * c.head_dim, c.hidden_size, false},
      qkv_proj{this, "qkv_proj", c.hidden_size, int64_t(c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim,
               false} {}

Phi3Mlp::Phi3Mlp(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      gate_up_proj{this, "gate_up_proj", c.hidden_size, 2 * c.intermediate_size, false},
      down_proj{this, "down_proj", c.intermediate_size, c.hidden_size, false} {}

Phi3Layer::Phi3Layer(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      self_attn{this, "self_attn", c},
      mlp{this, "mlp", c},
      input_layernorm{this, "input_layernorm", c.hidden_size, c.rms_norm_eps},
      post_attention_layernorm{this, "post_attention_layernorm", c.hidden_size, c.rms_norm_eps},
      shape_{.heads = c.num_attention_heads,
             .kv_heads = c.num_key_value_heads,
             .head_dim = c.head_dim,
             .causal = true,
             .scale = 1 / std::sqrt(double(c.head_dim)),
             .k_column = c.num_attention_heads * c.head_dim,
             .v_column = (c.num_attention_heads + c.num_key_value_heads) * c.head_dim,
             .window = c.window} {}

Var Phi3Layer::operator()(const Var& x, const TokenRows& rows, DropoutState& dropout, bool only_last) const {
  const RowScope all(dropout, rows.dropout_ids);
  const Var qkv = rope(self_attn.qkv_proj(input_layernorm(x)), rows.rope, shape_.heads + shape_.kv_heads);
  const auto rest = [&](const Var& before, const Var& attended) {
    const auto [h, normed] = post_attention_layernorm.of_sum(before, self_attn.o_proj(attended));
    return h + mlp(normed);
  };
  const AttentionShape shape = in_precision_of(*this, shape_);
  if (!only_last) return rest(x, attention(qkv, rows.cu_seqlens, shape));
  const RowScope last(dropout, rows.last_dropout_ids);
  return rest(gather_rows(x, rows.last_rows),
              attention(gather_rows(qkv, rows.last_rows), qkv, qkv, rows.one_each, rows.cu_seqlens, shape));
}

Phi3ImageEmbedding::Phi3ImageEmbedding(Module* parent, std::string name, const Phi3VConfig& c)
    : Module(parent, std::move(name)),
      glb_GN(this, "glb_GN", {1, 1, 4 * c.vision.width}),
      sub_GN(this, "sub_GN", {1, 1, 1, 4 * c.vision.width}),
      vision_model{this, "img_processor.vision_model", c.vision},
      img_projection_0{this, "img_projection.0", 4 * c.vision.width, c.text.hidden_size, true},
      img_projection_2{this, "img_projection.2", c.text.hidden_size, c.text.hidden_size, true} {}

Phi3Decoder::Phi3Decoder(Module* parent, std::string name, const Phi3VConfig& c)
    : Module(parent, std::move(name)),
      embed_tokens{this, "embed_tokens", c.text.vocab_size, c.text.hidden_size},
      vision_embed_tokens{this, "vision_embed_tokens", c},
      layers{this, "layers", c.text.num_hidden_layers, c.text},
      norm{this, "norm", c.text.hidden_size, c.text.rms_norm_eps} {}

InputShape Phi3V::input() const {
  return {.vocab_size = config_.text.vocab_size,
          .patch_size = config_.vision.patch_size,
          .merge_size = 2,
          .image_size = config_.vision.image_size};
}

double Phi3V::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  return path.find(".vision_model.") == path.npos ? config_.initializer_range
                                                  : tower_std(config_.vision, path, config_.vision.initializer_range);
}

const TensorNames& Phi3V::names() const {
  static const TensorNames names{
      .ignored = {{"lm_head.weight", "embeddings need no language-model head"},
                  {"vision_embed_tokens.wte.weight", "it is model.embed_tokens.weight once more"},
                  {"embeddings.position_ids", "positions are counted"},
                  {"rotary_emb.inv_freq", "rotary frequencies follow from config.json"}},
      .embedding = "model.embed_tokens.weight",
      .head = "model.vision_embed_tokens.wte.weight",
      .image_encoder = "model.vision_embed_tokens"};
  return names;
}

// Single precision as in the official code: a position above 4096 shows it.
RopeTable Phi3V::angles(const std::vector<int32_t>& cu) const {
  const size_t half = size_t(config_.text.head_dim / 2);
  const auto empty = [&](int64_t rows) {
    return RopeTable{Tensor({rows, int64_t(half)}, DType::f32, Device::cpu),
                     Tensor({rows, int64_t(half)}, DType::f32, Device::cpu)};
  };
  RopeTable table = empty(cu.back()), lines[2];  // lines: of the longest row yet with short and with long factors
  const auto line = [&](int64_t n, bool is_long) -> const RopeTable& {
    RopeTable& known = lines[is_long];
    if (known.cos && known.cos.rows() >= n) return known;
    known = empty(n);
    for (size_t i = 0; i < half; ++i) {
      const float power = float(std::pow(config_.text.rope_theta, double(float(2 * i) / float(2 * half)))),
                  factor = (is_long ? config_.long_factor : config_.short_factor)[i], frequency = 1 / (factor * power);
      for (size_t position = 0; position < size_t(n); ++position) {
        const double angle = float(position) * frequency;
        known.cos.data<float>()[position * half + i] = float(std::cos(angle)) * float(config_.rotary_scale);
        known.sin.data<float>()[position * half + i] = float(std::sin(angle)) * float(config_.rotary_scale);
      }
    }
    return known;
  };
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    const int64_t n = cu[row + 1] - cu[row];
    const RopeTable& from = line(n, n > config_.short_length);
    copy_bytes(from.cos.rows(0, n), table.cos.rows(cu[row], cu[row + 1]));
    copy_bytes(from.sin.rows(0, n), table.sin.rows(cu[row], cu[row + 1]));
  }
  return table;
}

void Phi3V::place(TokenBatch& batch, const Reading&) const {
  auto& placed = batch.place<Phi3VPlacement>();
  placed.tokens = angles(to_vector<int32_t>(batch.cu_seqlens));
  if (batch.has_pictures()) place_pictures(batch, placed);
}

void Phi3V::place_pictures(TokenBatch& batch, Phi3VPlacement& placed) const {
  place_images(batch, placed.images);
  const auto token_ids = to_vector<int64_t>(batch.dropout_ids);
  std::vector<int64_t> ids;
  for (const int32_t row : to_vector<int32_t>(batch.image_rows)) ids.push_back(token_ids[size_t(row)]);
  batch.seen_dropout_ids = from_vector(ids);
  std::vector<int32_t> cells, map;
  constexpr int32_t line_end = 0, between = 1;
  int32_t first = 0, next = 2;  // the tower's row of a tile's first patch less the class row; a tile's first cell
  for (const Grid& grid : batch.grids) {
    const int32_t down = grid.h / 2, across = grid.w / 2, whole = next;
    for (int t = 0; t < grid.t; ++t, first += grid.h * grid.w + 1, next += down * across)
      for_each_patch({1, grid.h, grid.w}, 2, [&](int row, int column) {
        cells.push_back(first + 1 + row * grid.w + column);
      });
    const auto line = [&](int32_t tile, int32_t tiles, int32_t row) {
      for (int32_t column = 0; column < tiles * across; ++column)
        map.push_back(whole + ((tile + column / across) * down + row) * across + column % across);
      map.push_back(line_end);
    };
    for (int32_t row = 0; row < grid.tile_rows * down; ++row)
      line(1 + row / down * grid.tile_columns, grid.tile_columns, row % down);
    map.push_back(between);
    for (int32_t row = 0; row < down; ++row) line(0, 1, row);
  }
  placed.cells = from_vector(cells), placed.map = from_vector(map);
}

Var Phi3V::see(const TokenBatch& batch, const Var& patches) {
  const auto& placed = batch.placed_as<Phi3VPlacement>();
  Phi3ImageEmbedding& images = model.vision_embed_tokens;
  const int64_t width = 4 * config_.vision.width;
  Var x = run_tower(placed.images, batch.patch_dropout_ids, patches, size_t(config_.tower_layers));
  x = view(gather_rows(x, placed.cells), {-1, width});
  const auto separator = [&](const Parameter& p) {  // gathered: the gradient of a bf16 parameter is f32
    return gather_rows(view(p, {1, width}), batch.one_each.rows(0, 1), x.value().dtype());
  };
  x = gather_rows(concat_rows({separator(images.sub_GN), separator(images.glb_GN), x}), placed.map);
  const RowScope rows(dropout, batch.seen_dropout_ids);
  x = images.project(x);
  if (trace) trace("image_tokens", x.value());
  return x;
}

Var Phi3V::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const Var x = seen.value() ? replace_rows(words, batch.image_rows, seen) : words;
  const auto& placed = batch.placed_as<Phi3VPlacement>();
  return decode(model, x, token_rows(batch, placed.tokens, {}));
}

void Phi3V::trace_inputs(const TokenBatch& batch) const {
  auto ids = to_vector<int32_t>(batch.ids);
  if (batch.has_pictures()) {
    const auto rows = to_vector<int32_t>(batch.image_rows);
    int32_t number = 0;  // of a picture in its row
    size_t at = 0;
    for (size_t i = 0; i < batch.grids.size(); ++i) {
      number = i > 0 && batch.picture_rows[i] == batch.picture_rows[i - 1] ? number + 1 : 1;
      for (int n = hd_vectors(batch.grids[i], 2); n > 0; --n) ids[size_t(rows[at++])] = -number;
    }
  }
  trace("input_ids", from_vector(ids));
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote Phi3V::describe(const std::string& stage, const TokenBatch& batch) {
  const int64_t seen = batch.has_pictures() ? batch.image_rows.numel() : 0;
  if (stage == "input_ids")
    return {sentence("the prompt as byte-pair tokens; those of pictures (", seen, ") are -1, -2 and so on")};
  if (stage == "pixel_values")
    return {sentence("the whole picture, then its tiles, each ", config_.vision.image_size, "x",
                     config_.vision.image_size, " pixels, normalised: (x/255 - mean)/std")};
  if (stage == "vision_embed" || stage.starts_with("vision_block_"))
    return describe_tower(stage, batch.placed_as<Phi3VPlacement>().images);
  if (stage == "image_tokens") {
    Phi3ImageEmbedding& images = model.vision_embed_tokens;
    return {"2x2 patches become one vector, a learned vector ends each line and one lies between tiles and whole; an "
            "MLP makes them as wide as the decoder's",
            count_parameters(images) - count_parameters(images.vision_model),
            product_flops(images.img_projection_0, seen) + product_flops(images.img_projection_2, seen)};
  }
  return describe_decoder(stage, batch, config_.text, model);
}

}  // namespace vlm2vec
