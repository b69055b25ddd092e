// A model as trainer and evaluator use it: rows of text and pictures go in, unit vectors come out.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vlm/backbone.h"
#include "vlm/model_folder.h"
#include "vlm/processor.h"

namespace vlm2vec {

class Encoder {
 public:
  // Loads a folder's model without its adapter. Throws Exit::data for a family that is not in families.cpp.
  explicit Encoder(const ModelFolder& folder, const EncoderOptions& options = {});

  // Reads rows, their pictures too, and moves them to the device, beside what it computes. Any thread may call it.
  TokenBatch prepare(std::span<const EncoderInput> rows) const;
  Var operator()(const TokenBatch& batch) const { return (*backbone)(batch); }  // [rows, dim], normalised
  int64_t dim() const { return backbone->kept > 0 ? backbone->kept : backbone->dim(); }
  const std::string& image_token() const { return processor.image_token(); }
  DType dtype() const { return dtype_; }  // of activations

  std::vector<std::string> notes;  // for the user: unused parts of the checkpoint, and why
  const Family& family;
  const std::unique_ptr<Backbone> backbone;
  const Processor processor;

 private:
  Device device_;
  DType dtype_;
};

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder, const EncoderOptions& options = {});

// Returns for each row the number of the first one with its text, pictures and route, and so with its vector. Under
// dropout, rows with other masks differ.
std::vector<size_t> first_equals(std::span<const EncoderInput> rows, bool dropout = false);

// Counts the texts that max_len cut, and names the first one.
struct CutTexts {
  int64_t texts = 0, cut = 0;
  std::string first = {};  // "row 12 of Scene_t2i"
  void add(const EncoderInput& row, bool is_cut);
  void add(const CutTexts& later);
  void add(std::span<const EncoderInput> rows, const std::vector<size_t>& cut_rows);  // cut_rows: ascending numbers
  std::string note(int64_t max_len) const;  // a sentence for the user; empty: no cut. 0: the model's own limit
};

struct Embedded {
  Tensor vectors;           // f32 [rows, dim], on the host
  std::vector<size_t> cut;  // the rows whose text max_len cut, ascending
};

// Embeds rows without tape. `batch`: the rows, prepared; first: the first row's number, for errors.
Embedded embed_batch(const Encoder& encoder, std::span<const EncoderInput> rows, TokenBatch batch, int64_t first = 0);
// The same, `batch_size` rows at a time; a thread reads the next ones meanwhile. Any size gives the same bits.
Embedded embed_rows(const Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size);
Tensor embed(const Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size);

}  // namespace vlm2vec
