// Vectors that were computed before, on the disk: an interrupted evaluation goes on where it was, and a second one
// costs next to nothing. A vector is found by its content (SHA-256 of the prompt and of the bytes of its pictures) in
// the file (vector_file.h) of its model and options; whatever changes a vector changes one of the two.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "mmeb/evaluation/vector_file.h"
#include "mmeb/options.h"
#include "vlm/encoder.h"

namespace vlm2vec {

class EmbeddingCache {
 public:
  // In `folder`, which is made if absent, for the model and options that made `encoder`.
  EmbeddingCache(const std::filesystem::path& folder, const ModelOptions& options, Device device,
                 const Encoder& encoder);
  // As embed() of vlm/encoder.h, to the bit, but only rows that are not here are embedded, each distinct one once, and
  // kept batch by batch.
  Tensor embed(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size,
               const std::function<void(int64_t done)>& progress = {});
  std::string note() const;  // for the user, one line: how many vectors were here, and what was damaged

 private:
  std::vector<Digest> keys_of(std::span<const EncoderInput> rows);
  std::filesystem::path file_;
  VectorFile vectors_;
  std::unordered_map<std::string, Digest> pictures_;  // by path
  int64_t found_ = 0, embedded_ = 0;
};

// What --embedding_cache asks for; null if `folder` is empty.
std::unique_ptr<EmbeddingCache> open_embedding_cache(const std::filesystem::path& folder, const ModelOptions& options,
                                                     Device device, const Encoder& encoder);

// With or without a cache (null).
Tensor embed(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size,
             const std::function<void(int64_t done)>& progress, EmbeddingCache* cache);

}  // namespace vlm2vec
