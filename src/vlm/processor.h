// From rows to packed tokens and patches, configured by a model's folder: tokenizer, picture rule, limits. It finds
// what is wrong with a row, keeps decoded pictures, and writes its files beside saved weights.
#pragma once
#include <filesystem>
#include <memory>
#include <set>
#include <span>

#include "vlm/backbone.h"
#include "vlm/encoder_options.h"
#include "vlm/image/image_cache.h"
#include "vlm/model_folder.h"
#include "vlm/processor_files.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {

class Processor {
 public:
  // `input`: what the model's weights expect. Throws Exit::data where the folder's files contradict them or each other,
  // Exit::usage where the options contradict the files. `notes` gets sentences for the user.
  Processor(const ModelFolder& folder, const Family& family, const InputShape& input, const EncoderOptions& options,
            std::vector<std::string>& notes);

  // Decodes and resizes the pictures, tokenizes the prompts and packs them, on the host, the floats in f32. Throws
  // Exit::data, beginning with the row's name.
  TokenBatch prepare(std::span<const EncoderInput> rows) const;
  // Why prepare() cannot read each row, without the row's name; empty: it can. Other errors (no memory) are thrown.
  std::vector<std::string> faults(std::span<const EncoderInput> rows) const;

  const std::string& image_token() const { return image_token_; }  // what stands for a picture in a prompt, or empty
  std::string image_positions() const {  // 1d or 3d; empty: pictures have no place among the tokens
    return rule_->image_positions.empty() && !image_token_.empty() ? "1d" : rule_->image_positions;
  }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const PictureRule& rule() const { return *rule_; }
  std::shared_ptr<const Image> picture(const EncoderInput& row,
                                       const PictureSource& source) const;  // as the model sees it

  // Writes the files that make a folder of saved weights a complete checkpoint (configuration, tokenizer, processor),
  // as they were when the model was loaded, but with the bounds of a picture's area that the options gave.
  void write_configuration(const std::filesystem::path& folder) const;
  // Writes the files among these that an adapter needs beside it to read rows as it was trained: the processor's, and
  // the tokenizer's if that came with an adapter.
  void write_adapter_files(const std::filesystem::path& folder) const;
  // For the user: a line about the pictures that were read in spite of a flaw, and one about those that are stored
  // rotated; empty: there were none.
  std::string picture_note() const { return images_->note(); }

 private:
  std::vector<int32_t> tokens_of(const EncoderInput& row, std::span<const Grid> grids) const;
  int64_t ends_of_a_text() const;  // how many tokens stand around every text
  void check(const ModelFolder& folder) const;
  void keep_configuration(const ModelFolder& folder, const Family& family, bool moved);
  void pack_tokens(std::span<const EncoderInput> rows, std::span<const Grid> grids, TokenBatch& batch) const;

  InputShape input_;
  std::unique_ptr<PictureRule> rule_;
  Tokenizer tokenizer_;
  std::string image_token_;
  int64_t max_len_;  // of a row, in tokens; 0: no limit
  std::shared_ptr<ImageCache> images_;
  TextFiles configuration_;
  std::set<std::string> adapter_files_;  // of these, what write_adapter_files() writes
};

}  // namespace vlm2vec
