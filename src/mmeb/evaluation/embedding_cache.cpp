#include "mmeb/evaluation/embedding_cache.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/evaluation/model_hash.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/io/archive.h"
#include "tensor/io/files.h"
#include "tensor/parallel.h"
#include "vlm/image.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// To be raised whenever the program begins to compute other vectors from the same model, options and input.
constexpr int kEmbeddingVersion = 1;

Digest picture_digest(const fs::path& path) {
  const FileBytes file = read_file_or_member(path, most_picture_bytes);
  return sha256({reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
}

fs::path vector_file(const fs::path& folder, ModelOptions options, Device device) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    fail(Exit::resources, folder.string(), ": --embedding_cache cannot be made (", error.message(), ")");
  nlohmann::json what = {{"version", kEmbeddingVersion},
                         {"model", hex(model_hash(options.model_name, options.adapter, folder / "model_hashes.json"))},
                         {"device", name_of(device)},
                         {"instruction_set", isa_name()}};  // sums are taken in another order
  options.fields([&](const char* name, const auto& value, const char*) {
    const std::string option = name;  // the hash stands for the two folders; the norms are only printed
    if (option != "model_name" && option != "adapter" && option != "adapter_norms") what[option] = value;
  });
  return folder / (hex(sha256(what.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))) + ".vectors");
}

}  // namespace

EmbeddingCache::EmbeddingCache(const fs::path& folder, const ModelOptions& options, Device device,
                               const Encoder& encoder)
    : file_(vector_file(folder, options, device)), vectors_(file_, encoder.dim()) {}

// Lengths stand before texts, so that no two inputs have the same bytes.
std::vector<Digest> EmbeddingCache::keys_of(std::span<const EncoderInput> rows) {
  std::vector<fs::path> unseen;
  for (const EncoderInput& row : rows)
    for (const fs::path& path : row.images)
      if (!pictures_.contains(path.string())) unseen.push_back(path);
  std::sort(unseen.begin(), unseen.end());
  unseen.erase(std::unique(unseen.begin(), unseen.end()), unseen.end());
  std::vector<Digest> digests(unseen.size());
  parallel_for(int64_t(unseen.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) digests[i] = picture_digest(unseen[i]);
  });
  for (size_t i = 0; i < unseen.size(); ++i) pictures_.emplace(unseen[i].string(), digests[i]);
  std::vector<Digest> keys;
  for (const EncoderInput& row : rows) {
    std::string content = sentence(row.text.size(), " ", row.text);
    for (const fs::path& path : row.images) content += hex(pictures_.at(path.string()));
    keys.push_back(sha256(content));
  }
  return keys;
}

Tensor EmbeddingCache::embed(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size,
                             const std::function<void(int64_t done)>& progress) {
  const std::vector<Digest> keys = keys_of(rows);
  Tensor all({int64_t(rows.size()), encoder.dim()}, DType::f32, Device::cpu);
  const auto vector = [&](size_t row) { return all.data<float>() + int64_t(row) * encoder.dim(); };
  const size_t bytes = size_t(encoder.dim()) * sizeof(float);
  std::map<Digest, size_t> missing;  // and the first row that needs it
  std::vector<size_t> first;         // those rows, in order
  for (size_t i = 0; i < rows.size(); ++i)
    if (!vectors_.find(keys[i], vector(i)) && missing.emplace(keys[i], i).second) first.push_back(i);
  size_t done = rows.size() - first.size();
  found_ += int64_t(done), embedded_ += int64_t(first.size());
  if (progress && done > 0) progress(int64_t(done));
  for (size_t begin = 0; begin < first.size(); begin += size_t(batch_size)) {
    const std::span part(first.begin() + int64_t(begin), std::min(size_t(batch_size), first.size() - begin));
    std::vector<EncoderInput> inputs;
    std::vector<Digest> part_keys;
    for (const size_t row : part) inputs.push_back(rows[row]), part_keys.push_back(keys[row]);
    const Tensor vectors = vlm2vec::embed(encoder, inputs, batch_size);
    vectors_.add(part_keys, vectors.data<float>());
    for (size_t i = 0; i < part.size(); ++i)
      std::memcpy(vector(part[i]), vectors.data<float>() + int64_t(i) * encoder.dim(), bytes);
    if (progress) progress(int64_t(done += part.size()));
  }
  for (size_t i = 0; i < rows.size(); ++i)
    if (const auto found = missing.find(keys[i]); found != missing.end() && found->second != i)
      std::memcpy(vector(i), vector(found->second), bytes);
  return all;
}

std::string EmbeddingCache::note() const {
  std::string text = sentence("embedding cache: ", found_, " of ", found_ + embedded_, " vectors were there");
  if (vectors_.damaged() > 0)
    text += sentence("; ", vectors_.damaged(), " damaged ones were dropped from ", file_.string());
  return text;
}

std::unique_ptr<EmbeddingCache> open_embedding_cache(const fs::path& folder, const ModelOptions& options, Device device,
                                                     const Encoder& encoder) {
  return folder.empty() ? nullptr : std::make_unique<EmbeddingCache>(folder, options, device, encoder);
}

Tensor embed(Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size,
             const std::function<void(int64_t done)>& progress, EmbeddingCache* cache) {
  return cache ? cache->embed(encoder, rows, batch_size, progress) : embed(encoder, rows, batch_size, progress);
}

}  // namespace vlm2vec
