// Rows as a command gives them, and packed as a backbone reads them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/ops.h"
#include "vlm/image/picture_rule.h"
#include "vlm/image/picture_source.h"

namespace vlm2vec {

// One side of a pair: a prompt, in which each image token stands for one of the pictures.
struct EncoderInput {
  std::string text;
  std::vector<PictureSource> images;
  uint64_t dropout_id = 0;  // equal ids get equal dropout masks in every batch
  std::string row = {};     // where the row comes from, for error messages: "row 12 of Scene_t2i"
};

// Tensors that a family derives from a batch (Backbone::place); other families leave them undefined.
struct Placement {
  Tensor position_ids;     // i32 [3, tokens]: time, row, column; [tokens] where a position is one number
  RopeTable tokens, last;  // rotary angles of all tokens, and of each row's last token
  Tensor cu_patches;       // i32: where each picture's patches begin, and the end
  RopeTable patches;       // rotary angles of the patches
  // For attention within windows: where each window begins; the order that puts windows one after another, for patches,
  // their angles and dropout ids; and the way back for merged patches.
  Tensor cu_windows, window_order, raster_order;
  // For a vision tower with a class row before each picture's patches: where each picture's rows begin, and the end;
  // the order that takes them from [class row, all patches]; and each row's position in its picture.
  Tensor cu_images, image_order, image_positions;
  // For a text tower beside a vision tower: the rows with a text, and the token that stands for each text. If some
  // tokens are not keys: the keys, their sequences, and the sequences of the queries.
  Tensor text_rows, pooled_rows, keys, cu_keys, cu_queries;
};

// Tokens and pictures of some rows, packed without padding.
struct TokenBatch {
  Tensor ids;                            // i32 [tokens]; an image token is repeated for each vector of its picture
  Tensor cu_seqlens;                     // i32 [rows + 1]: where each row's tokens begin, and the end
  Tensor last_rows, one_each;            // i32 [rows]: each row's last token; i32 [rows + 1]: 0, 1, 2, …
  Tensor dropout_ids, last_dropout_ids;  // i64 [tokens], [rows]
  std::vector<Grid> grids;               // pictures, row by row
  std::vector<int32_t> picture_rows;     // the row of each picture
  Tensor image_rows;                     // i32: the tokens whose vectors the pictures' vectors replace
  Tensor patches;                        // [patches, 3·p·p]; undefined without pictures, or when `seen` is there
  Tensor patch_dropout_ids;              // i64 [patches]
  Tensor seen_dropout_ids;               // i64, of the rows of see(): [patches / merge²] or [pictures]
  Tensor seen;                           // the vision tower's output, if it has run ahead (Backbone::run_frozen)
  Placement placed;
  std::vector<size_t> cut;  // the rows whose text max_len cut, ascending

  int64_t rows() const { return last_rows.numel(); }
  bool has_pictures() const { return !grids.empty(); }
  // Moves every tensor to the device, the floats in this type.
  void to(DType dtype, Device device);
};

}  // namespace vlm2vec
