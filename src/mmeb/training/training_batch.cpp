#include "mmeb/training/training_batch.h"

#include <map>
#include <numeric>

#include "io/error.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

// Draws `count` sides, in random order if there are more; counter-based, so that a resumed run draws the same.
std::vector<Side> draw(std::vector<Side> sides, size_t count, uint64_t key) {
  if (sides.size() <= count) return sides;
  Random(key).shuffle(sides);
  sides.resize(count);
  return sides;
}

EncoderInput worded(const Side& side, bool is_query, const TrainingData& rows, RowId id, const PromptStyle* style,
                    const std::string& image_token, uint64_t key) {
  const Pictures& pictures = rows.pictures(id);
  if (!style) return encoder_input(side, image_token, pictures, key);
  return encoder_input(side, is_query, rows.form(id, is_query), *style, image_token, pictures, key);
}

std::vector<int32_t> groups_of(const std::vector<EncoderInput>& targets) {
  std::map<std::pair<std::string, std::vector<PictureSource>>, int32_t> first;
  std::vector<int32_t> groups;
  for (const EncoderInput& target : targets)
    groups.push_back(first.try_emplace({target.text, target.images}, int32_t(groups.size())).first->second);
  return groups;
}

}  // namespace

TrainingBatch make_batch(const TrainingData& rows, const std::vector<RowId>& ids, const std::string& image_token,
                         const BatchOptions& o) {
  std::vector<EncoderInput> inputs;  // row i begins at starts[i]: query, target, negatives
  std::vector<size_t> starts;
  size_t drawn = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const TrainRow row = rows[ids[i]];
    const uint64_t place = o.first + i, key = mix(o.seed, place);
    const auto add = [&](const Side& side, uint64_t input_key) {
      const std::string name = rows.name_of(ids[i]);  // also for an archive that cannot be read
      const bool is_query = inputs.size() == starts.back();
      inputs.push_back(
          naming([&] { return worded(side, is_query, rows, ids[i], o.style, image_token, input_key); }, name));
      inputs.back().row = name;
    };
    starts.push_back(inputs.size());
    add(row.query, 2 * place);
    add(draw(row.positives, 1, mix(key, 0))[0], 2 * place + 1);
    for (const Side& side : draw(row.negatives, size_t(o.num_hardneg), mix(key, 1))) add(side, mix(key, 2 + drawn++));
  }
  starts.push_back(inputs.size());
  std::vector<std::string> faults = o.faults ? o.faults(inputs) : std::vector<std::string>(inputs.size());

  TrainingBatch batch;
  std::vector<EncoderInput> negatives;
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t query = starts[i], target = query + 1;
    const std::string unread = rows.fault(ids[i]);
    if (!unread.empty()) faults[query] = unread, faults[target] = "";
    const bool usable = faults[query].empty() && faults[target].empty();
    if (usable) batch.queries.push_back(std::move(inputs[query])), batch.targets.push_back(std::move(inputs[target]));
    for (size_t k = query; k < starts[i + 1]; ++k)
      if (!faults[k].empty())
        batch.left_out.push_back({rows.name_of(ids[i]),
                                  !unread.empty() ? "row"
                                  : k == query    ? "query"
                                  : k == target   ? "target"
                                                  : "negative",
                                  faults[k]});
      else if (k > target && usable) negatives.push_back(std::move(inputs[k]));
  }
  batch.targets.insert(batch.targets.end(), negatives.begin(), negatives.end());

  for (const auto* side : {&batch.queries, &batch.targets})
    for (const EncoderInput& input : *side)
      batch.tokens_without_picture +=
          input.images.empty() && !image_token.empty() && input.text.find(image_token) != std::string::npos;
  batch.groups = groups_of(batch.targets);
  std::vector<int32_t> sizes(batch.targets.size());
  for (const int32_t group : batch.groups) ++sizes[size_t(group)];
  const size_t pairs = batch.queries.size();
  for (size_t i = 0; i < pairs; ++i) batch.duplicates += double(sizes[size_t(batch.groups[i])] > 1) / double(pairs);

  std::vector<int32_t> labels(pairs);
  std::iota(labels.begin(), labels.end(), 0);
  batch.matching.labels = from_vector(labels);
  if (o.mask_duplicates) batch.matching.groups = from_vector(batch.groups);
  return batch;
}

double TrainingBatch::accuracy(const std::vector<int32_t>& best) const {
  size_t right = 0;
  for (size_t i = 0; i < best.size(); ++i) right += groups[size_t(best[i])] == groups[i];
  return double(right) / double(best.size());
}

}  // namespace vlm2vec
