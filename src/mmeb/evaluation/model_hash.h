// What a model is, as one number: SHA-256 over the names and contents of the files that make its embeddings.
#pragma once
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/io/sha256.h"

namespace vlm2vec {

class ModelHash {
 public:
  // Of a checkpoint's weights, configuration, tokenizer and processor, and of an adapter's files (`adapter` may be
  // empty). Where the folders lie does not matter. `memo` is a JSON file that keeps each file's hash under its path,
  // with its stamp, so that gigabytes are read again only when that is another; empty: none.
  ModelHash(const std::filesystem::path& model, const std::filesystem::path& adapter,
            const std::filesystem::path& memo);
  const Digest& digest() const { return digest_; }
  // Exit::data if a file came, went or changed since: whoever loaded the model meanwhile may have another one.
  void require_unchanged() const;

 private:
  struct ModelFile {
    std::string name;  // "model/config.json"
    std::filesystem::path path;
    std::array<int64_t, 5> stamp;  // size, time of modification and of change in ns, inode, device
    bool operator==(const ModelFile&) const = default;
  };
  std::vector<ModelFile> list_files() const;
  static void add_files(const std::filesystem::path& folder, const std::string& role, std::vector<ModelFile>& files);
  std::filesystem::path model_, adapter_;
  std::vector<ModelFile> files_;
  Digest digest_;
};

}  // namespace vlm2vec
