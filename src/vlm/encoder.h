// What trainer and evaluator see of a backbone: rows of text and pictures go in, unit vectors come out.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/lora.h"
#include "nn/module.h"
#include "vlm/image/image.h"
#include "vlm/image/picture_source.h"
#include "vlm/model_folder.h"

namespace vlm2vec {

// One side of a pair: a prompt, in which each image token stands for one of the pictures.
struct EncoderInput {
  std::string text;
  std::vector<PictureSource> images;
  uint64_t key = 0;      // who this row is, for dropout: the same key, the same mask, in whatever batch
  std::string row = {};  // where it comes from, for error messages: "row 12 of Scene_t2i"
};

// The text and pixels of some rows, packed; its content is the backbone's own affair.
struct Batch {
  virtual ~Batch() = default;
  std::vector<size_t> cut;  // rows of which max_len has cut off text
};

// Called with every stage's name and value while a model runs, from input_ids to embedding; the names are those of
// `explain --dump`. A traced model computes all rows of all layers.
using Trace = std::function<void(const std::string& stage, const Tensor& value)>;

// What a stage does, in words, and what it costs for the rows of a batch.
struct StageNote {
  std::string text;
  int64_t parameters = 0;
  double flops = 0;  // of products and attention, a multiplication and an addition counting 2
};

// How a picture's patches share in a score, row by row.
struct PictureAttribution {
  Image image;  // as the model sees it
  int rows = 0, columns = 0;
  std::vector<float> shares;  // [rows, columns]
};
// What carries the score y·t of an input's embedding y: integrated gradients (Sundararajan et al. 2017). On the
// straight way from an input that says nothing, a blank for each word and for each picture its mean colour, the share
// of a number x is its difference times the mean of dy/dx·t. A word's numbers are its token's embedding, a patch's its
// normalised pixels. The shares add up to score − nothing, but for the error of a mean over 32 points.
struct Attribution {
  double score = 0, nothing = 0;                     // of the input, and of the one that says nothing
  std::vector<std::pair<std::string, float>> words;  // tokens, but those that stand for a picture, and their shares
  std::vector<PictureAttribution> pictures;
};

inline constexpr int64_t kImageCacheBytes = int64_t(512) << 20;  // decoded pictures that an encoder keeps, at most

struct Encoder : Module {
  virtual std::unique_ptr<Batch> prepare(std::span<const EncoderInput> rows) = 0;
  // Why prepare() cannot read each row, without its name; empty: it can. Other errors (no memory) are thrown.
  virtual std::vector<std::string> faults(std::span<const EncoderInput> rows) = 0;
  virtual Var operator()(const Batch& batch) = 0;  // [rows, dim], normalised
  // Runs a frozen vision tower now; its output replaces the pixels in the batch. operator() gives the same bits. False:
  // the tower is trained, pixels are left.
  virtual bool run_frozen(Batch& batch) = 0;
  virtual int64_t dim() const = 0;
  virtual std::string image_positions() const = 0;     // 1d or 3d: of pictures that no <|vision_start|> opens
  virtual const std::string& image_token() const = 0;  // what stands for a picture in a prompt
  virtual void set_gradient_checkpointing(bool on) = 0;
  virtual StageNote describe(const std::string& stage, const Batch& batch) = 0;  // of those that `trace` sees
  // target: f32 [dim], on the host.
  virtual Attribution attribute(const EncoderInput& row, const Tensor& target) = 0;
  // Writes the files that make a folder of saved weights a complete checkpoint (configuration, tokenizer, processor),
  // as they were when the model was loaded, but with the bounds of a picture's area that EncoderOptions gave.
  virtual void write_configuration(const std::filesystem::path& folder) const = 0;
  // The files among these that an adapter needs beside it to read rows as it was trained: the processor's, and the
  // tokenizer's if that came with an adapter.
  virtual void write_adapter_files(const std::filesystem::path& folder) const = 0;

  // For the user: a line about the pictures that were read in spite of a flaw, and one about those that are stored
  // rotated; empty: there were none.
  virtual std::string picture_note() const = 0;

  std::vector<std::string> notes;  // for the user: what of the checkpoint is not used, and why
  DropoutState dropout;
  Trace trace;  // empty: none
};

class ImageCache;

struct EncoderOptions {
  Device device = Device::cpu;
  bool f64 = false;                        // everything in double precision, for tests
  bool bf16 = false;                       // products with weights in bf16, sums in f32
  int64_t min_pixels = 0, max_pixels = 0;  // bounds of a picture's area; 0: those of the processor's file
  int64_t max_len = 0;                     // tokens of a row, pictures included; what is beyond is cut off; 0: no limit
  std::string image_positions = "";        // 1d or 3d; empty: what the model was trained with, else 1d
  std::string image_resolution = "";       // VLM2Vec V1's high, mid, low or another word; empty: V2's route
  bool exif = false;                       // turn pictures upright by their EXIF orientation
  bool load_weights = true;                // false: the parameters are left for the caller to fill
  std::shared_ptr<ImageCache> images = {};  // decoded pictures, shared by encoders that resize alike; none: its own
};

// The backbone of a folder (look_at_model_folder), without its adapter. Qwen2-VL is the only one; others are refused by
// the model_type of config.json.
std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder, const EncoderOptions& options = {});
std::unique_ptr<Encoder> load_encoder(const ModelFolder& folder, const EncoderOptions& options = {});

// How many texts max_len has cut, and which of them comes first.
struct CutTexts {
  int64_t texts = 0, cut = 0;
  std::string first = {};  // "row 12 of Scene_t2i"
  void add(const EncoderInput& row, bool is_cut);
  void add(const CutTexts& later);
  void add(std::span<const EncoderInput> rows, const std::vector<size_t>& cut_rows);  // their numbers, ascending
  std::string note(int64_t max_len) const;  // for the user, a sentence; empty: none is cut
};

struct Embedded {
  Tensor vectors;           // f32 [rows, dim], on the host
  std::vector<size_t> cut;  // rows of which max_len has cut off text, ascending
};

// Embeds rows without tape, `batch_size` at a time. Batches of any size give the same bits.
Embedded embed_rows(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size,
                    const std::function<void(int64_t done)>& progress = {});
Tensor embed(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size);

}  // namespace vlm2vec
