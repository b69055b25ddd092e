// A family's model: modules whose field paths are the checkpoint's names, and a forward pass from packed rows to unit
// vectors. It knows no files, no tokenizer and no options.
#pragma once
#include <functional>
#include <string>

#include "nn/lora.h"
#include "nn/module.h"
#include "vlm/positions.h"
#include "vlm/token_batch.h"

namespace vlm2vec {

// Gets every stage's name (as in `explain --dump`) and value while a model runs, from input_ids to embedding. A traced
// model computes all rows of all layers.
using Trace = std::function<void(const std::string& stage, const Tensor& value)>;

struct TokenRows;

// A stage in words, and its cost for the rows of a batch.
struct StageNote {
  std::string text;
  int64_t parameters = 0;
  double flops = 0;  // matrix products and attention; a multiplication and an addition count 2
};

// The input that the weights expect from tokenizer and picture rule.
struct InputShape {
  int64_t vocab_size = 0;
  int image_token_id = -1;  // -1: no token of the vocabulary stands for a picture
  int patch_size = 0, merge_size = 1, temporal_patch_size = 1;
  int image_size = 0;       // side of every picture, or tile of one, in pixels; 0: sizes differ
  int64_t most_tokens = 0;  // limit of a text; longer texts keep their end token; 0: no limit
  bool always_text = false;  // a row without a text has an empty one
  bool padded = false;       // shorter texts are filled up to it, but not with the official mask
  std::vector<Size> canvases = {};  // the sizes that tiles are cut from, in pixels; empty: all
};

// How the model was trained to read rows, where a family has a choice.
struct Reading {
  ImagePositions positions = ImagePositions::one_d;
  bool official_mask = false;  // the attention mask of VLM2Vec's evaluation of CLIP
};

class Backbone : public Module {
 public:
  virtual InputShape input() const = 0;
  virtual int64_t dim() const = 0;               // numbers of an embedding, before `kept` cuts it
  virtual double initial_std(const Parameter& parameter) const = 0;  // of new weights, as in transformers
  virtual bool tied() const { return false; }    // the language-model head is the embedding
  virtual bool has_official_features() const { return false; }
  virtual Module& image_encoder() = 0;

  // Makes batch.placed on the host: positions, angles, windows.
  virtual void place(TokenBatch& batch, const Reading& reading) const = 0;
  virtual Var words(const TokenBatch& batch) = 0;  // token embeddings [tokens, hidden], without picture features
  // Encodes pictures: returns the vision tower's output for `patches`, which are batch.patches or replace them:
  // [patches / merge², width], a multiple of these rows, or [pictures, width] if a picture has one vector.
  virtual Var see(const TokenBatch& batch, const Var& patches) = 0;
  // The language model's forward pass: returns [rows, dim], or as many numbers as are kept, normalised. seen: the
  // result of see(); undefined without pictures.
  virtual Var read(const TokenBatch& batch, const Var& words, const Var& seen) = 0;

  Var operator()(const TokenBatch& batch);
  // Runs a frozen vision tower now and replaces the patches by its output; operator() gives the same bits.
  // Returns false, and keeps the patches, if the tower is trained.
  bool run_frozen(TokenBatch& batch);

  virtual StageNote describe(const std::string& stage, const TokenBatch& batch) = 0;  // a stage that `trace` gets

  DropoutState dropout;
  bool official_features = false;       // those of VLM2Vec's evaluation, where they are others (--fusion official)
  int64_t kept = 0;                     // keep only the first numbers of each embedding (--dim); 0: all
  Trace trace;                          // empty: none
  bool gradient_checkpointing = false;  // keep one activation per layer, recompute the rest

 protected:
  // Traces the stages before the first layer: input_ids and the family's own.
  virtual void trace_inputs(const TokenBatch& batch) const;
  // Returns the rows' first numbers, as many as are kept, with length 1.
  Var unit(const Var& x) const;
  // Returns layer(x), recorded, or recomputed in the backward pass.
  Var run(const std::function<Var(const Var&)>& layer, const Var& x) const;
  // Runs packed rows through a decoder (vlm/decode.h). Returns the last one of each sequence, as unit() does. `after`
  // changes the output of the first `afters` layers. The last layer computes only the rows that are returned, unless a
  // trace or `after` needs all of them.
  using AfterLayer = std::function<Var(size_t layer, const Var& x)>;
  template <class Model>
  Var decode(Model& model, Var x, const TokenRows& rows, const AfterLayer& after = {}, size_t afters = 0);
};

// For describe().
int64_t count_parameters(Module& module);
// Counts the products of `rows` rows with every matrix of the module.
double product_flops(Module& module, int64_t rows);
// Counts q kᵀ and its product with v in these sequences; a causal mask halves both.
double attention_flops(const Tensor& cu_seqlens, int64_t width, bool causal);

}  // namespace vlm2vec
