// What a model is, as one number: SHA-256 over the names and contents of the files that make its embeddings.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/sha256.h"
#include "vlm/known_hashes.h"

namespace vlm2vec {

class ModelHash {
 public:
  // Of a checkpoint's weights, configuration, tokenizer and processor, and of an adapter's files (`adapter` may be
  // empty). Where the folders lie does not matter. Files that are known (known_hashes.h) are not read again.
  ModelHash(const std::filesystem::path& model, const std::filesystem::path& adapter);
  const Digest& digest() const { return digest_; }
  // Exit::data if a file came, went or changed since: whoever loaded the model meanwhile may have another one.
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

}  // namespace vlm2vec
