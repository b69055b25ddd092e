// A model's identity: SHA-256 over the names and contents of the files that make its embeddings.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/sha256.h"
#include "vlm/known_hashes.h"

namespace vlm2vec {

class ModelHash {
 public:
  // Hashes a checkpoint's weights, configuration, tokenizer and processor, and an adapter's files (`adapter` may be
  // empty). Where the folders lie does not matter. Known files (known_hashes.h) are not read again.
  ModelHash(const std::filesystem::path& model, const std::filesystem::path& adapter);
  const Digest& digest() const { return digest_; }
  // Throws Exit::data if a file came, went or changed since: a model loaded meanwhile may be another one.
  void require_unchanged() const;

 private:
  struct ModelFile {
    std::string name;  // "model/config.json"
    std::filesystem::path path;
    FileStamp stamp;
    bool operator==(const ModelFile&) const = default;
  };
  std::vector<ModelFile> list_files() const;
  static void add_files(const std::filesystem::path& folder, const std::string& role, std::vector<ModelFile>& files);
  std::filesystem::path model_, adapter_;
  std::vector<ModelFile> files_;
  Digest digest_;
};

// Returns a warning if the base model that an adapter's training_state.json names had other files than `model`; empty:
// the same files, or an adapter that another program wrote. sha256: the ModelHash of `model`, if it is known already.
std::string other_base_note(const std::filesystem::path& model, const std::filesystem::path& adapter,
                            std::string sha256 = "");

}  // namespace vlm2vec
