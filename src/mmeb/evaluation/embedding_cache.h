// A model that embeds, with the vectors that --embedding_cache keeps on disk. An interrupted evaluation continues where
// it stopped, and a second one costs almost nothing. Each model with its options has one file (vector_file.h). The key
// of a vector in it is the SHA-256 of the prompt and of the bytes of its pictures. Before it keeps a vector, the
// embedder checks again that model and pictures have not changed since they were hashed.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/vector_file.h"
#include "vlm/encoder.h"
#include "vlm/model_hash.h"
#include "vlm/model_options.h"

namespace vlm2vec {

class Embedder {
 public:
  // Loads the model (load_model). Creates the folder `cache` if absent; if `cache` is empty, keeps nothing.
  Embedder(const ModelOptions& options, const std::filesystem::path& cache, Device device, bool quiet);
  Encoder& encoder() { return *encoder_; }
  const ModelHash& model_hash() const { return *hash_; }  // taken before the model was loaded
  // Equals embed_rows() of vlm/encoder.h bit for bit. Embeds each distinct row once. With a cache, embeds only missing
  // ones and keeps the vectors of each batch. A row that cannot be read throws Exit::data, or with `skip` becomes a
  // fault. Throws Exit::data if the model or a picture changes meanwhile.
  EmbeddedRows embed(std::span<const EncoderInput> rows, int64_t batch_size,
                     const std::function<void(int64_t done)>& progress = {}, bool skip = false);
  // Notes for the user, perhaps empty: the number of vectors found and damaged, and how an interrupted run continues.
  std::string cache_note() const;
  std::string how_to_go_on() const;

 private:
  struct Keys {
    std::vector<Digest> keys;
    std::vector<std::string> faults;  // per row: why its pictures cannot be read, or empty
  };
  Keys keys_of(std::span<const EncoderInput> rows, bool skip);
  // A batch that has been read; with `skip`, of the rows without a fault.
  struct Part {
    std::map<size_t, std::string> faults;  // by the row's number
    std::vector<size_t> numbers;
    std::vector<EncoderInput> inputs;
    TokenBatch batch;
  };
  Part read_part(std::span<const EncoderInput> rows, std::vector<size_t> numbers, bool skip) const;
  // Embeds the rows, keeps their vectors and puts them into `all` at their numbers.
  void embed_part(Part part, std::span<const Digest> keys, EmbeddedRows& all, std::vector<bool>& cut);
  std::filesystem::path folder_, file_;
  std::optional<ModelHash> hash_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<VectorFile> vectors_, cut_;         // cut: only keys of texts that max_len cuts; null without a cache
  std::unordered_map<std::string, Digest> pictures_;  // by key, as first seen: the encoder may cache a picture
  int64_t inputs_ = 0, found_ = 0;                    // found: inputs with a vector from an earlier run
  std::set<Digest> embedded_;                         // embedded by this run
};

}  // namespace vlm2vec
