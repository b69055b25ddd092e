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

#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/vector_file.h"
#include "vlm/encoder.h"
#include "vlm/model_hash.h"
#include "vlm/model_options.h"

namespace vlm2vec {

class Embedder {
 public:
  // Loads the model (load_model). The folder `cache` is made if absent; empty: nothing is kept.
  Embedder(const ModelOptions& options, const std::filesystem::path& cache, Device device, bool quiet);
  Encoder& encoder() { return *encoder_; }
  const ModelHash& model_hash() const { return *hash_; }  // taken before the model was loaded
  // As embed_rows() of vlm/encoder.h, bit for bit. With a cache only rows that are not there are embedded, each
  // distinct one once, and kept batch by batch. A row that cannot be read is an error (Exit::data), or with `skip` a
  // fault. Exit::data if the model or a picture changes meanwhile.
  EmbeddedRows embed(std::span<const EncoderInput> rows, int64_t batch_size,
                     const std::function<void(int64_t done)>& progress = {}, bool skip = false);
  // For the user, or empty: for how many inputs a vector was here before and what was damaged; how an interrupted run
  // goes on.
  std::string cache_note() const;
  std::string how_to_go_on() const;

 private:
  struct Keys {
    std::vector<Digest> keys;
    std::vector<std::string> faults;  // of each row: why its pictures have no bytes; empty: they have
  };
  Keys keys_of(std::span<const EncoderInput> rows, bool skip);
  // Embeds rows that can be read, keeps their vectors and puts them into `all`; the numbers of rows there.
  void embed_part(std::span<const EncoderInput> rows, std::vector<size_t> numbers, std::span<const Digest> keys,
                  bool skip, EmbeddedRows& all, std::vector<bool>& cut);
  std::filesystem::path folder_, file_;
  std::optional<ModelHash> hash_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<VectorFile> vectors_, cut_;         // cut: of keys alone, whose text max_len cuts; null: none is kept
  std::unordered_map<std::string, Digest> pictures_;  // by key, as first seen; an encoder may keep a picture as it was
  int64_t inputs_ = 0, found_ = 0;                    // found: with a vector that was there before this run
  std::set<Digest> embedded_;                         // by this run
};

}  // namespace vlm2vec
