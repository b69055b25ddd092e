// Rows as a command gives them, and packed as a backbone reads them.
#pragma once
#include <cstdint>
#include <memory>
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
  PictureRoute route = PictureRoute::own;  // of the prompt's style, as the next
  bool uncounted = false;
};

// What a family derives from a batch (Backbone::place), as a struct of its own: tensors for its passes.
struct Placement {
  virtual ~Placement() = default;
  virtual std::vector<Tensor*> of_see() = 0;   // those that only the vision tower takes; undefined without pictures
  virtual std::vector<Tensor*> of_read() = 0;  // the rest
};

// Tokens and pictures of some rows, packed without padding.
struct TokenBatch {
  // i32 [tokens]; an image token is repeated for each vector of its picture; a numbered one, which has no id, is 0.
  Tensor ids;
  Tensor cu_seqlens;                     // i32 [rows + 1]: where each row's tokens begin, and the end
  Tensor last_rows, one_each;            // i32 [rows]: each row's last token; i32 [rows + 1]: 0, 1, 2, …
  Tensor dropout_ids, last_dropout_ids;  // i64 [tokens], [rows]
  std::vector<Grid> grids;               // pictures, row by row
  std::vector<int32_t> picture_rows;     // the row of each picture
  std::vector<bool> uncounted;           // the rows whose pictures have no grid positions where 1d are asked for
  Tensor image_rows;                     // i32: the tokens whose vectors the pictures' vectors replace
  Tensor patches;                        // [patches, 3·p·p]; undefined without pictures, or when `seen` is there
  Tensor patch_dropout_ids;              // i64 [patches]
  Tensor seen_dropout_ids;               // i64, of the rows of see(): [patches / merge²] or [pictures]
  Tensor seen;                           // the vision tower's output, if it has run ahead (Backbone::run_frozen)
  std::shared_ptr<Placement> placed;     // copies of a batch share it
  std::vector<size_t> cut;               // the rows whose text max_len cut, ascending

  int64_t rows() const { return last_rows.numel(); }
  bool has_pictures() const { return !grids.empty(); }
  // Makes `placed`, and returns it, as the family's own type.
  template <class Own>
  Own& place() {
    return placed = std::make_shared<Own>(), placed_as<Own>();
  }
  template <class Own>
  Own& placed_as() const {
    return dynamic_cast<Own&>(*placed);
  }
  std::vector<Tensor*> tensors();  // all that are defined
  void round(DType dtype);   // gives the patches this type, and what adds to sums its acc type
  void move(Device device);  // every tensor: the patches in one transfer, the rest in another
};

}  // namespace vlm2vec
