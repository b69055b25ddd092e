#include "mmeb/evaluation/embedding_cache.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/model.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"
#include "vlm/image.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// To be raised whenever the program begins to compute other vectors from the same model, options and input.
constexpr int kEmbeddingVersion = 1;

fs::path vector_file(const fs::path& folder, const Digest& model, ModelOptions options, Device device) {
  nlohmann::json what = {{"version", kEmbeddingVersion},
                         {"model", hex(model)},
                         {"device", name_of(device)},
                         {"instruction_set", isa_name()}};  // sums are taken in another order
  options.fields([&](const char* name, const auto& value, const char*) {
    const std::string option = name;  // the hash stands for the two folders; the norms are only printed
    if (option != "model_name" && option != "adapter" && option != "adapter_norms") what[option] = value;
  });
  return folder / (hex(sha256(what.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))) + ".vectors");
}

Digest picture_digest(const PictureSource& source) {
  const FileBytes file = source.read();
  return sha256({reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
}

}  // namespace

Embedder::Embedder(const ModelOptions& options, const fs::path& cache, Device device, bool quiet) : folder_(cache) {
  if (cache.empty()) {
    hash_.emplace(options.model_name, options.adapter, "");
    encoder_ = load_model(options, device, quiet);
    return;
  }
  std::error_code error;
  fs::create_directories(cache, error);
  if (!fs::is_directory(cache))
    fail(Exit::resources, cache.string(), ": --embedding_cache cannot be made (", error.message(), ")");
  hash_.emplace(options.model_name, options.adapter, cache / "model_hashes.json");
  encoder_ = load_model(options, device, quiet);
  file_ = vector_file(cache, hash_->digest(), options, device);
  vectors_ = std::make_unique<VectorFile>(file_, encoder_->dim());
}

// Lengths stand before texts, so that no two inputs have the same bytes.
std::vector<Digest> Embedder::keys_of(std::span<const EncoderInput> rows) {
  std::set<PictureSource> distinct;
  for (const EncoderInput& row : rows) distinct.insert(row.images.begin(), row.images.end());
  const std::vector<PictureSource> sources(distinct.begin(), distinct.end());
  std::vector<Digest> digests(sources.size());
  parallel_for(int64_t(sources.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) digests[i] = picture_digest(sources[i]);
  });
  for (size_t i = 0; i < sources.size(); ++i)
    if (pictures_.emplace(sources[i].key(), digests[i]).first->second != digests[i])
      fail(Exit::data, sources[i].name(), ": changed while it was in use; start again when all pictures are complete");
  std::vector<Digest> keys;
  for (const EncoderInput& row : rows) {
    std::string content = sentence(row.text.size(), " ", row.text);
    for (const PictureSource& source : row.images) content += hex(pictures_.at(source.key()));
    keys.push_back(sha256(content));
  }
  return keys;
}

Tensor Embedder::embed(std::span<const EncoderInput> rows, int64_t batch_size,
                       const std::function<void(int64_t done)>& progress) {
  if (!vectors_) return vlm2vec::embed(*encoder_, rows, batch_size, progress);
  const std::vector<Digest> keys = keys_of(rows);
  const int64_t dim = encoder_->dim();
  Tensor all({int64_t(rows.size()), dim}, DType::f32, Device::cpu);
  const auto vector = [&](size_t row) { return all.data<float>() + int64_t(row) * dim; };
  const size_t bytes = size_t(dim) * sizeof(float);
  std::map<Digest, size_t> missing;  // and the first row that needs it
  std::vector<size_t> first;         // those rows, in order
  for (size_t i = 0; i < rows.size(); ++i)
    if (vectors_->find(keys[i], vector(i))) found_ += !embedded_.contains(keys[i]);
    else if (missing.emplace(keys[i], i).second) first.push_back(i);
  size_t done = rows.size() - first.size();
  inputs_ += int64_t(rows.size());
  if (progress && done > 0) progress(int64_t(done));
  for (size_t begin = 0; begin < first.size(); begin += size_t(batch_size)) {
    const std::span part(first.begin() + int64_t(begin), std::min(size_t(batch_size), first.size() - begin));
    std::vector<EncoderInput> inputs;
    std::vector<Digest> part_keys;
    for (const size_t row : part) inputs.push_back(rows[row]), part_keys.push_back(keys[row]);
    const Tensor vectors = vlm2vec::embed(*encoder_, inputs, batch_size);
    hash_->require_unchanged();
    keys_of(inputs);  // fails if a picture is another now
    vectors_->add(part_keys, vectors.data<float>());
    embedded_.insert(part_keys.begin(), part_keys.end());
    for (size_t i = 0; i < part.size(); ++i)
      std::memcpy(vector(part[i]), vectors.data<float>() + int64_t(i) * dim, bytes);
    if (progress) progress(int64_t(done += part.size()));
  }
  for (size_t i = 0; i < rows.size(); ++i)
    if (const auto found = missing.find(keys[i]); found != missing.end() && found->second != i)
      std::memcpy(vector(i), vector(found->second), bytes);
  return all;
}

std::string Embedder::cache_note() const {
  if (!vectors_) return "";
  std::string text = sentence("embedding cache: ", found_, " of ", inputs_, " vectors were there");
  if (vectors_->damaged() > 0)
    text += sentence("; ", vectors_->damaged(), " damaged ones were dropped from ", file_.string());
  return text;
}

std::string Embedder::how_to_go_on() const {
  return vectors_ ? "the same command goes on from the vectors in " + folder_.string()
                  : "the same command begins again; with --embedding_cache FOLDER it would go on";
}

}  // namespace vlm2vec
