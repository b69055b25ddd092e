// What a family of models is: modules whose field paths are the checkpoint's names, and a forward pass from packed rows
// to unit vectors. It knows no files, no tokenizer and no options.
#pragma once
#include <functional>
#include <string>

#include "nn/lora.h"
#include "nn/module.h"
#include "vlm/positions.h"
#include "vlm/token_batch.h"

namespace vlm2vec {

// Called with every stage's name and value while a model runs, from input_ids to embedding; the names are those of
// `explain --dump`. A traced model computes all rows of all layers.
using Trace = std::function<void(const std::string& stage, const Tensor& value)>;

// What a stage does, in words, and what it costs for the rows of a batch.
struct StageNote {
  std::string text;
  int64_t parameters = 0;
  double flops = 0;  // of products and attention; a multiplication and an addition count 2
};

// What the weights expect of tokenizer and picture rule.
struct InputShape {
  int64_t vocab_size = 0;
  int image_token_id = -1;  // -1: no token stands for a picture
  int patch_size = 0, merge_size = 1, temporal_patch_size = 1;
  int image_size = 0;       // pixels to a side of every picture; 0: pictures differ
  int64_t most_tokens = 0;  // of a text; what is beyond is cut off but for its end token; 0: no limit
};

class Backbone : public Module {
 public:
  virtual InputShape input() const = 0;
  virtual int64_t dim() const = 0;               // of an embedding
  virtual double initializer_range() const = 0;  // std of new weights
  virtual bool tied() const { return false; }    // the language-model head is the embedding
  virtual Module& image_encoder() = 0;
  // --official_mask: from now on attention is masked as in VLM2Vec's evaluation of CLIP; false: it has no such mask.
  virtual bool take_official_mask() { return false; }

  // Fills batch.placed on the host: positions, angles, windows.
  virtual void place(TokenBatch& batch, ImagePositions positions) const = 0;
  virtual Var words(const TokenBatch& batch) = 0;  // [tokens, hidden], before pictures take their places
  // [patches / merge², …], or [pictures, …] where a picture has one vector: what the vision tower makes of
  // batch.patches, or of others in their place.
  virtual Var see(const TokenBatch& batch, const Var& patches) = 0;
  // [rows, dim], normalised. seen: as see() returns it; undefined without pictures.
  virtual Var read(const TokenBatch& batch, const Var& words, const Var& seen) = 0;

  Var operator()(const TokenBatch& batch);
  // Runs a frozen vision tower now; its output takes the place of the patches, and operator() gives the same bits.
  // Returns false, and leaves the patches, if the tower is trained.
  bool run_frozen(TokenBatch& batch);

  virtual StageNote describe(const std::string& stage, const TokenBatch& batch) = 0;  // of those that `trace` sees

  DropoutState dropout;
  Trace trace;                          // empty: none
  bool gradient_checkpointing = false;  // keep one activation per layer, and compute the others again

 protected:
  // The stages before the first layer: input_ids, and what else the family has.
  virtual void trace_inputs(const TokenBatch& batch) const;
  // layer(x), recorded or to be run again in the backward pass.
  Var run(const std::function<Var(const Var&)>& layer, const Var& x) const;
};

// For describe().
int64_t count_parameters(Module& module);
// Of the products of `rows` rows with every matrix of the module.
double product_flops(Module& module, int64_t rows);
// q kᵀ and its product with v, in sequences of these lengths; a causal mask leaves half of each.
double attention_flops(const Tensor& cu_seqlens, int64_t width, bool causal);

}  // namespace vlm2vec
