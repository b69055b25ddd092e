#include "vlm/attribution.h"

#include <algorithm>

namespace vlm2vec {
namespace {

constexpr int kPathSteps = 32;

// The straight line from `from` to `to`, and the mean gradient along it.
struct Path {
  std::vector<double> from, to, gradient;
  Var at(const Tensor& like, double way) const {
    std::vector<double> values(to.size());
    for (size_t i = 0; i < to.size(); ++i) values[i] = from[i] + way * (to[i] - from[i]);
    return Var::leaf(from_vector(values, like.shape(), Device::cpu).to(like.dtype()).to(like.device()));
  }
  void add(const Var& x) {
    if (!x.grad()) return;
    const auto g = to_vector<double>(x.grad());
    for (size_t i = 0; i < g.size(); ++i) gradient[i] += g[i] / kPathSteps;
  }
  std::vector<float> shares(size_t rows) const {
    std::vector<float> sums(rows, 0.0f);
    const size_t columns = to.size() / std::max<size_t>(1, rows);
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t i = r * columns; i < (r + 1) * columns; ++i) sum += (to[i] - from[i]) * gradient[i];
      sums[r] = float(sum);
    }
    return sums;
  }
};

Path path_between(std::vector<double> from, const Tensor& to) {
  return {std::move(from), to_vector<double>(to), std::vector<double>(size_t(to.numel()), 0.0)};
}

// Paints each picture in its mean colour. (A fixed gray would be zero when normalised, and the layer norm behind the
// patch embedding would hide the way from zero to the picture.)
std::vector<double> mean_colours(const Tensor& patches, std::span<const Grid> grids) {
  std::vector<double> values = to_vector<double>(patches);
  const size_t columns = size_t(patches.columns()), pixels = columns / 3;  // a patch: all red ones, then green, blue
  for (size_t first = 0; const Grid& grid : grids) {
    const size_t end = first + size_t(grid.patches());
    for (size_t channel = 0; channel < 3; ++channel) {
      double sum = 0;
      const auto each = [&](auto&& f) {
        for (size_t row = first; row < end; ++row)
          for (size_t i = 0; i < pixels; ++i) f(values[row * columns + channel * pixels + i]);
      };
      each([&](double& value) { sum += value; });
      const double mean = sum / (double(end - first) * double(pixels));
      each([&](double& value) { value = mean; });
    }
    first = end;
  }
  return values;
}

// Returns the token of a blank. CLIP's tokenizer makes no token of it; its end token says nothing, too: it pads.
int32_t blank_token(const Tokenizer& tokenizer) {
  const std::vector<int32_t> blank = tokenizer.encode(" "), &end = tokenizer.end_ids();
  return !blank.empty() ? blank[0] : !end.empty() ? end.back() : 0;
}

// Replaces each token by `blank`, except those around every text.
std::vector<int32_t> blanked(std::vector<int32_t> ids, const Tokenizer& tokenizer, int32_t blank) {
  const size_t begin = tokenizer.begin_ids().size(), end = tokenizer.end_ids().size();
  if (ids.size() > begin + end) std::fill(ids.begin() + int64_t(begin), ids.end() - int64_t(end), blank);
  return ids;
}

}  // namespace

Attribution attribute(Encoder& encoder, const EncoderInput& row, const Tensor& target) {
  const Processor& processor = encoder.processor;
  Backbone& model = *encoder.backbone;
  const TokenBatch batch = encoder.prepare({&row, 1});
  const bool pictured = batch.has_pictures();
  TokenBatch blanks = batch;
  const int32_t blank = blank_token(processor.tokenizer());
  blanks.ids = from_vector(blanked(to_vector<int32_t>(batch.ids), processor.tokenizer(), blank), {batch.ids.numel()},
                           batch.ids.device());
  const Tensor words = model.words(batch).value(), patches = batch.patches;
  Path of_words = path_between(to_vector<double>(model.words(blanks).value()), words), of_patches;
  if (pictured) of_patches = path_between(mean_colours(patches, batch.grids), patches);
  const Tensor t = target.view({1, encoder.dim()}).to(acc_of(encoder.dtype())).to(words.device());
  const auto embedded = [&](const Var& w, const Var& p) {
    return model.read(batch, w, pictured ? model.see(batch, p) : Var());
  };
  const auto score_at = [&](double way) {
    const NoGrad no_grad;
    const auto y = to_vector<double>(
                   embedded(of_words.at(words, way), pictured ? of_patches.at(patches, way) : Var()).value()),
               seed = to_vector<double>(t);
    double score = 0;
    for (size_t i = 0; i < y.size(); ++i) score += y[i] * seed[i];
    return score;
  };

  Attribution result{score_at(1), score_at(0), processor.tokenizer().token(blank), {}, {}};
  for (int step = 0; step < kPathSteps; ++step) {
    const double way = (step + 0.5) / kPathSteps;
    const Var w = of_words.at(words, way), p = pictured ? of_patches.at(patches, way) : Var();
    embedded(w, p).backward(t);
    of_words.add(w);
    if (pictured) of_patches.add(p);
  }
  const std::vector<float> word_shares = of_words.shares(size_t(batch.ids.numel()));
  const auto ids = to_vector<int64_t>(batch.ids);
  const auto image_rows = pictured && batch.image_rows ? to_vector<int64_t>(batch.image_rows) : std::vector<int64_t>();
  for (size_t i = 0; i < ids.size(); ++i)
    if (!std::ranges::binary_search(image_rows, int64_t(i)))
      result.words.emplace_back(processor.tokenizer().token(int32_t(ids[i])), word_shares[i]);
  if (row.images.empty()) return result;
  const std::vector<float> patch_shares = of_patches.shares(size_t(patches.rows()));
  size_t patch = 0;
  for (const PictureSource& source : row.images) {
    const auto image = processor.picture(row, source);
    const Grid grid = processor.rule().grid_of(*image);
    auto [rows, columns, shares] =
        processor.rule().on_image(grid, std::span(patch_shares).subspan(patch, size_t(grid.patches())));
    result.pictures.push_back({*image, rows, columns, std::move(shares)});
    patch += size_t(grid.patches());
  }
  return result;
}

}  // namespace vlm2vec
