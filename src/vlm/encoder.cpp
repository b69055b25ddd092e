#include "vlm/encoder.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "nn/state.h"
#include "tensor/ahead.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/ops.h"

namespace vlm2vec {

Encoder::Encoder(const ModelFolder& folder, const EncoderOptions& options)
    : notes(folder.notes),
      family(family_of(folder.config)),
      backbone(make_backbone(folder.config)),
      processor(folder, family, backbone->input(), options, notes),
      device_(options.device),
      dtype_(options.f64 ? DType::f64 : options.bf16 && device_ != Device::cpu ? DType::bf16 : DType::f32) {
  if (options.official_features && !backbone->has_official_features())
    fail(Exit::usage, "--fusion official: ", family.title,
         " is evaluated with the vectors that it has without this option; leave it out");
  backbone->official_features = options.official_features;
  if (options.dim > backbone->dim())
    fail(Exit::usage, "--dim ", options.dim, ": the embeddings of ", folder.path.string(), " have ", backbone->dim(),
         " numbers; give ", backbone->dim(), " or less");
  backbone->kept = options.dim;
  if (options.bf16) backbone->set_precision(dtype_ == DType::bf16 ? Precision::bf16 : Precision::bf16_products);
  if (options.bf16 && device_ == Device::cpu && !simd().gemm_bf16)
    notes.push_back("--precision bf16: " + std::string(isa_name()) +
                    " has no instructions for products of bf16; their factors are rounded, the time is that of f32");
  if (!options.load_weights) return;
  LoadOptions load{.device = device_, .tied = backbone->tied()};
  if (options.f64) load.dtype = DType::f64;
  if (dtype_ == DType::bf16) load.matrices = DType::bf16;
  NamedTensors weights = load_checkpoint(folder.path);
  if (family.own_layout) weights = family.own_layout->tensors_of(weights);
  for (std::string& note : load_parameters(*backbone, weights, load, folder.path.string()))
    notes.push_back(std::move(note));
}

TokenBatch Encoder::prepare(std::span<const EncoderInput> rows) const {
  TokenBatch batch = processor.prepare(rows);
  backbone->place(batch, processor.reading());
  batch.round(dtype_);
  copy_beside_kernels(device_, [&] { batch.move(device_); });
  return batch;
}

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder, const EncoderOptions& options) {
  return std::make_unique<Encoder>(look_at_model_folder(folder, {}, !options.load_weights), options);
}

std::vector<size_t> first_equals(std::span<const EncoderInput> rows, bool dropout) {
  const auto before = [&](size_t i, size_t j) {
    const auto key = [&](const EncoderInput& row) {
      return std::tie(row.text, row.images, row.route, row.uncounted, dropout ? row.dropout_id : rows[0].dropout_id);
    };
    return key(rows[i]) < key(rows[j]);
  };
  std::set<size_t, decltype(before)> different(before);
  std::vector<size_t> firsts;
  for (size_t i = 0; i < rows.size(); ++i) firsts.push_back(*different.insert(i).first);
  return firsts;
}

void CutTexts::add(const EncoderInput& row, bool is_cut) {
  ++texts;
  if (is_cut && cut++ == 0) first = row.row;
}

void CutTexts::add(const CutTexts& later) {
  texts += later.texts, cut += later.cut;
  if (first.empty()) first = later.first;
}

void CutTexts::add(std::span<const EncoderInput> rows, const std::vector<size_t>& cut_rows) {
  for (size_t i = 0; i < rows.size(); ++i) add(rows[i], std::ranges::binary_search(cut_rows, i));
}

std::string CutTexts::note(int64_t max_len) const {
  if (cut == 0) return "";
  const std::string which = texts == 1 ? "the text" : sentence(cut, " of ", texts, " texts");
  const std::string limit = max_len > 0 ? sentence("--max_len ", max_len) : "the model's limit of tokens";
  return sentence(limit, " cut ", which, texts == 1 || first.empty() ? "" : ", first: " + first,
                  "; the vectors do not cover the cut part");
}

Embedded embed_batch(const Encoder& encoder, std::span<const EncoderInput> rows, TokenBatch batch, int64_t first) {
  const NoGrad no_grad;
  const Tensor y = encoder(batch).value().to(DType::f32).to(Device::cpu);
  for (int64_t row = 0; row < y.rows(); ++row)
    if (const double squares = sum_of_squares(y.rows(row, row + 1)); !std::isfinite(squares) || squares == 0)
      fail(Exit::failed, "the embedding of row ", first + row, " (\"", rows[size_t(row)].text.substr(0, 60),
           squares == 0 ? "\") is zero; are the weights damaged?" : "\") is not finite; are the weights damaged?");
  return {y, std::move(batch.cut)};
}

Embedded embed_rows(const Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size) {
  Embedded all{Tensor({int64_t(rows.size()), encoder.dim()}, DType::f32, Device::cpu), {}};
  const auto part = [&](size_t begin) {
    return rows.subspan(begin, std::min(size_t(batch_size), rows.size() - begin));
  };
  Ahead<TokenBatch> next;
  for (size_t begin = 0, end; begin < rows.size(); begin = end) {
    end = begin + part(begin).size();
    TokenBatch batch = next ? next.take() : encoder.prepare(part(begin));
    if (end < rows.size()) next = Ahead<TokenBatch>([&, end] { return encoder.prepare(part(end)); });
    const Embedded some = embed_batch(encoder, part(begin), std::move(batch), int64_t(begin));
    copy_bytes(some.vectors, all.vectors.rows(int64_t(begin), int64_t(end)));
    for (const size_t row : some.cut) all.cut.push_back(begin + row);
  }
  return all;
}

Tensor embed(const Encoder& encoder, std::span<const EncoderInput> rows, int64_t batch_size) {
  return embed_rows(encoder, rows, batch_size).vectors;
}

}  // namespace vlm2vec
