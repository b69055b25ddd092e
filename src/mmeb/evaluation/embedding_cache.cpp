#include "mmeb/evaluation/embedding_cache.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/files.h"
#include "tensor/ahead.h"
#include "tensor/card_memory.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"
#include "vlm/image/image.h"
#include "vlm/model.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// Must be raised whenever the program computes other vectors from the same model, options and input.
constexpr int kEmbeddingVersion = 2;  // since 2: files beside the weights (adapters, newer processor files) count

fs::path vector_file(const fs::path& folder, const Digest& model, ModelOptions options, Device device) {
  nlohmann::json what = {{"version", kEmbeddingVersion},
                         {"model", hex(model)},
                         {"device", origin_of(device)},
                         {"instruction_set", isa_name()}};  // determines the order of sums
  if (device == Device::cuda) what["card"] = card_memory().name;  // as does the card
  options.fields([&](const char* name, const auto& value, const char*) {
    const std::string option = name;  // the hash covers the two folders; the norms are only printed
    // Files of a time before these options keep their names.
    if (option == "official_mask" && !options.official_mask.official) return;
    if (option == "num_crops" && options.num_crops == 0) return;
    if (option == "dim" && options.dim == 0) return;
    if (option != "model_name" && option != "adapter" && option != "adapter_norms") what[option] = value;
  });
  if (options.max_len > 0) what["cut_texts"] = true;  // this file also knows the cut texts
  return folder / (hex(sha256(what.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))) + ".vectors");
}

Digest picture_digest(const PictureSource& source) {
  const FileBytes file = source.read();
  return sha256(as_text(file.bytes));
}

}  // namespace

Embedder::Embedder(const ModelOptions& options, const fs::path& cache, Device device, bool quiet) : folder_(cache) {
  if (!cache.empty()) make_folder(cache);
  hash_.emplace(options.model_name, options.adapter);
  encoder_ = load_model(options, device, quiet);
  if (cache.empty()) return;
  file_ = vector_file(cache, hash_->digest(), options, device);
  vectors_ = std::make_unique<VectorFile>(file_, encoder_->dim());
  if (options.max_len > 0 || encoder_->backbone->input().most_tokens > 0)
    cut_ = std::make_unique<VectorFile>(fs::path(file_).replace_extension(".cut"), 0);
}

// Each text follows its length, so that no two inputs have the same bytes.
Embedder::Keys Embedder::keys_of(std::span<const EncoderInput> rows, bool skip) {
  std::map<PictureSource, std::string> faults;  // per picture
  for (const EncoderInput& row : rows)
    for (const PictureSource& source : row.images) faults[source];
  std::vector<PictureSource> sources;
  for (const auto& [source, fault] : faults) sources.push_back(source);
  std::vector<Digest> digests(sources.size());
  parallel_each(sources.size(), [&](size_t i) {
    const auto read = [&] { digests[i] = picture_digest(sources[i]); };
    if (skip) faults.at(sources[i]) = data_fault(read);
    else read();
  });
  for (size_t i = 0; i < sources.size(); ++i)
    if (faults.at(sources[i]).empty() &&
        pictures_.emplace(sources[i].key(), digests[i]).first->second != digests[i])
      fail(Exit::data, sources[i].name(), ": changed while it was in use; start again when all pictures are complete");
  Keys all;
  for (const EncoderInput& row : rows) {
    std::string content = sentence(row.text.size(), " ", row.text), fault;
    if (row.route != PictureRoute::own) content += sentence(" by route ", int(row.route));
    if (row.uncounted) content += " uncounted";
    for (const PictureSource& source : row.images) {
      if (faults.at(source).empty()) content += hex(pictures_.at(source.key()));
      else if (fault.empty()) fault = faults.at(source);
    }
    all.keys.push_back(sha256(content)), all.faults.push_back(fault);
  }
  return all;
}

Embedder::Part Embedder::read_part(std::span<const EncoderInput> rows, std::vector<size_t> numbers, bool skip) const {
  Part part{{}, std::move(numbers), {}, {}};
  for (const size_t row : part.numbers) part.inputs.push_back(rows[row]);
  if (skip) {
    const std::vector<std::string> faults = encoder_->processor.faults(part.inputs);
    for (size_t i = 0; i < faults.size(); ++i) part.faults[part.numbers[i]] = faults[i];
    std::erase_if(part.numbers, [&](size_t row) { return !part.faults[row].empty(); });
    part.inputs.clear();
    for (const size_t row : part.numbers) part.inputs.push_back(rows[row]);
  }
  if (!part.inputs.empty()) part.batch = encoder_->prepare(part.inputs);
  return part;
}

void Embedder::embed_part(Part part, std::span<const Digest> keys, EmbeddedRows& all, std::vector<bool>& cut) {
  for (const auto& [row, fault] : part.faults) all.faults[row] = fault;
  if (part.inputs.empty()) return;
  const Embedded embedded = embed_batch(*encoder_, part.inputs, std::move(part.batch));
  std::vector<Digest> part_keys, cut_keys;
  for (const size_t row : embedded.cut) cut[part.numbers[row]] = true;
  if (vectors_) {
    for (const size_t row : part.numbers) part_keys.push_back(keys[row]);
    for (const size_t row : embedded.cut) cut_keys.push_back(part_keys[row]);
    hash_->require_unchanged();
    keys_of(part.inputs, false);  // throws if a picture has changed
    if (cut_) cut_->add(cut_keys, embedded.vectors.data<float>());
    vectors_->add(part_keys, embedded.vectors.data<float>());
    embedded_.insert(part_keys.begin(), part_keys.end());
  }
  for (size_t i = 0; i < part.numbers.size(); ++i)
    copy_bytes(embedded.vectors.rows(int64_t(i), int64_t(i) + 1),
               all.vectors.rows(int64_t(part.numbers[i]), int64_t(part.numbers[i]) + 1));
}

EmbeddedRows Embedder::embed(std::span<const EncoderInput> rows, int64_t batch_size,
                             const std::function<void(int64_t done)>& progress, bool skip) {
  const int64_t dim = encoder_->dim();
  EmbeddedRows all(Tensor({int64_t(rows.size()), dim}, DType::f32, Device::cpu));
  const auto vector = [&](size_t row) { return all.vectors.data<float>() + int64_t(row) * dim; };
  std::vector<bool> cut(rows.size());
  Keys known;
  std::vector<size_t> same(rows.size());  // per row: the row that is embedded for it, perhaps itself
  std::map<Digest, size_t> missing;       // missing keys, each with the first row that needs it
  std::vector<size_t> first;              // the rows that are embedded, in order
  if (vectors_) known = keys_of(rows, skip), all.faults = known.faults, std::iota(same.begin(), same.end(), 0);
  else same = first_equals(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!all.faults[i].empty()) continue;
    if (vectors_ && vectors_->find(known.keys[i], vector(i))) {
      found_ += !embedded_.contains(known.keys[i]);
      cut[i] = cut_ && cut_->contains(known.keys[i]);
      continue;
    }
    if (vectors_) same[i] = missing.emplace(known.keys[i], i).first->second;
    if (same[i] == i) first.push_back(i);
  }
  size_t done = rows.size() - first.size();
  inputs_ += int64_t(rows.size());
  if (progress && done > 0) progress(int64_t(done));
  const auto read = [&](size_t begin) {
    const auto from = first.begin() + int64_t(begin);
    return read_part(rows, {from, from + std::min(batch_size, first.end() - from)}, skip);
  };
  Ahead<Part> next;
  for (size_t begin = 0, end; begin < first.size(); begin = end) {
    end = std::min(begin + size_t(batch_size), first.size());
    Part part = next ? next.take() : read(begin);
    if (end < first.size()) next = Ahead<Part>([&, end] { return read(end); });
    embed_part(std::move(part), known.keys, all, cut);
    if (progress) progress(int64_t(done += end - begin));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (const size_t from = same[i]; from != i) {
      std::copy_n(vector(from), dim, vector(i));
      all.faults[i] = all.faults[from], cut[i] = cut[from];
    }
    if (all.faults[i].empty()) all.cut.add(rows[i], cut[i]);
    else std::fill_n(vector(i), dim, 0.0f);
  }
  return all;
}

std::string Embedder::cache_note() const {
  if (!vectors_) return "";
  std::string text = sentence("embedding cache: ", found_, " of ", inputs_, " vectors were found");
  if (vectors_->damaged() > 0)
    text += sentence("; ", vectors_->damaged(), " damaged vectors were dropped from ", file_.string());
  return text;
}

std::string Embedder::how_to_go_on() const {
  return vectors_ ? "the same command continues from the vectors in " + folder_.string()
                  : "the same command starts over; with --embedding_cache FOLDER it continues";
}

}  // namespace vlm2vec
