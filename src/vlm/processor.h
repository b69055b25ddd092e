// Turns rows into packed tokens and patches, configured by a model's folder: tokenizer, picture rule, limits. It also
// finds faults of rows, keeps decoded pictures, and writes its files beside saved weights.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "vlm/backbone.h"
#include "vlm/encoder_options.h"
#include "vlm/image/image_cache.h"
#include "vlm/model_folder.h"
#include "vlm/processor_files.h"
#include "vlm/prompt.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {

class Processor {
 public:
  // `input`: what the model's weights expect. Throws Exit::data where the folder's files contradict them or each other,
  // Exit::usage where the options contradict the files. `notes` gets sentences for the user.
  Processor(const ModelFolder& folder, const Family& family, const InputShape& input, const EncoderOptions& options,
            std::vector<std::string>& notes);

  // Decodes and resizes the pictures, tokenizes the prompts and packs both on the host, floats in f32. Throws
  // Exit::data; the sentence begins with the row's name.
  TokenBatch prepare(std::span<const EncoderInput> rows) const;
  // Returns for each row why prepare() cannot read it, without the row's name; empty: it can. Throws other errors.
  std::vector<std::string> faults(std::span<const EncoderInput> rows) const;
  // Returns each row's number of tokens, a picture's vectors among them; where pictures have no tokens, their patches
  // count. Throws like prepare().
  std::vector<int64_t> token_counts(std::span<const EncoderInput> rows) const;

  const std::string& image_token() const { return image_token_; }  // the token for a picture in a prompt; may be empty
  const Reading& reading() const { return reading_; }
  const std::string& image_positions() const { return image_positions_; }  // 1d or 3d; empty: no choice
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const PictureRule& rule() const { return *settings_.rule; }
  const PictureRule& rule_of(const EncoderInput& row) const;  // for its route
  std::shared_ptr<const Image> picture(const EncoderInput& row,
                                       const PictureSource& source) const;  // as the model sees it

  // Writes the files that make saved weights a complete checkpoint (configuration, tokenizer, processor): those of the
  // loaded model, with the options' bounds of a picture's area.
  void write_configuration(const std::filesystem::path& folder) const;
  // Writes those of them that an adapter needs to read rows as in training: the processor's, and the tokenizer's if it
  // came with an adapter.
  void write_adapter_files(const std::filesystem::path& folder) const;
  // Returns lines for the user about pictures with a flaw and pictures that are stored rotated; empty: none.
  std::string picture_note() const { return images_->note(); }

 private:
  std::vector<Grid> grids_of(const EncoderInput& row) const;
  std::vector<int32_t> tokens_of(const EncoderInput& row, std::span<const Grid> grids) const;
  // Numbered image tokens have no id: the first picture's vectors lie at -1, the second's at -2.
  bool numbered() const { return image_token_ == kNumberedImageToken; }
  bool is_picture(int32_t id) const { return numbered() ? id < 0 : id == input_.image_token_id; }
  // The official code cuts no row with numbered image tokens and pictures.
  int64_t max_len(std::span<const Grid> grids) const { return numbered() && !grids.empty() ? 0 : max_len_; }
  void check(const ModelFolder& folder) const;
  void take_reading(const ModelFolder& folder, const Family& family, const EncoderOptions& options,
                    std::vector<std::string>& notes);
  void keep_configuration(const ModelFolder& folder, const Family& family, bool moved);
  std::vector<int32_t> padded(std::vector<int32_t> tokens) const;  // if the weights expect it
  void pack_tokens(std::span<const EncoderInput> rows, std::span<const Grid> grids, TokenBatch& batch) const;

  InputShape input_;
  ProcessorSettings settings_;  // of the file, with the options
  std::map<PictureRoute, std::unique_ptr<PictureRule>> routes_;
  Reading reading_;
  std::string image_positions_;
  Tokenizer tokenizer_;
  std::string image_token_;
  int64_t max_len_;  // tokens of a row; 0: no limit
  int32_t padding_;  // the token that fills up texts
  std::shared_ptr<ImageCache> images_;
  TextFiles configuration_;
  std::set<std::string> adapter_files_;  // the names that write_adapter_files() writes
};

}  // namespace vlm2vec
