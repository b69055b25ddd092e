// A model that embeds, with what --embedding_cache keeps of its work: vectors that were computed before, on the disk.
// An interrupted evaluation goes on where it was, and a second one costs next to nothing. A vector is found by its
// content (SHA-256 of the prompt and of the bytes of its pictures) in the file (vector_file.h) of its model and
// options; whatever changes a vector changes one of the two. Before a vector is kept, model and pictures are looked at
// again: they were the same all the time from the hash to the vector.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "mmeb/evaluation/model_hash.h"
#include "mmeb/evaluation/vector_file.h"
#include "mmeb/options.h"
#include "vlm/encoder.h"

namespace vlm2vec {

class Embedder {
 public:
  // Loads the model (load_model). The folder `cache` is made if absent; empty: nothing is kept.
  Embedder(const ModelOptions& options, const std::filesystem::path& cache, Device device, bool quiet);
  Encoder& encoder() { return *encoder_; }
  const ModelHash& model_hash() const { return *hash_; }  // taken before the model was loaded
  // As embed() of vlm/encoder.h, to the bit. With a cache only rows that are not there are embedded, each distinct one
  // once, and kept batch by batch. Exit::data if the model or a picture changes meanwhile.
  Tensor embed(std::span<const EncoderInput> rows, int64_t batch_size,
               const std::function<void(int64_t done)>& progress = {});
  // For the user, or empty: for how many inputs a vector was here before and what was damaged; how an interrupted run
  // goes on.
  std::string cache_note() const;
  std::string how_to_go_on() const;

 private:
  std::vector<Digest> keys_of(std::span<const EncoderInput> rows);
  std::filesystem::path folder_, file_;
  std::optional<ModelHash> hash_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<VectorFile> vectors_;               // null: no cache
  std::unordered_map<std::string, Digest> pictures_;  // by key, as first seen; an encoder may keep a picture as it was
  int64_t inputs_ = 0, found_ = 0;                    // found: with a vector that was there before this run
  std::set<Digest> embedded_;                         // by this run
};

}  // namespace vlm2vec
