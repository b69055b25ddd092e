#include "mmeb/training/training_batch.h"

#include <map>
#include <numeric>

#include "tensor/random.h"

namespace vlm2vec {
namespace {

// `count` of the sides, in random order if there are more; counter-based, so that a resumed run draws the same.
std::vector<Side> draw(std::vector<Side> sides, size_t count, uint64_t key) {
  if (sides.size() <= count) return sides;
  Random(key).shuffle(sides);
  sides.resize(count);
  return sides;
}

std::vector<int32_t> groups_of(const std::vector<EncoderInput>& targets) {
  std::map<std::pair<std::string, std::vector<std::filesystem::path>>, int32_t> first;
  std::vector<int32_t> groups;
  for (const EncoderInput& target : targets)
    groups.push_back(first.try_emplace({target.text, target.images}, int32_t(groups.size())).first->second);
  return groups;
}

}  // namespace

TrainingBatch make_batch(const TrainingRows& rows, const std::vector<RowId>& ids, const std::string& image_token,
                         const BatchOptions& o, Device device) {
  TrainingBatch batch;
  std::vector<EncoderInput> negatives;
  const auto input = [&](const Side& side, RowId id, uint64_t key) {
    EncoderInput input = encoder_input(side, image_token, rows.pictures(id), key);
    input.row = rows.name_of(id);
    return input;
  };
  const auto usable = [&](const EncoderInput& input) { return !o.usable || o.usable(input); };
  for (size_t i = 0; i < ids.size(); ++i) {
    const TrainRow row = rows[ids[i]];
    const uint64_t place = o.first + i, key = mix(o.seed, place);
    EncoderInput query = input(row.query, ids[i], 2 * place),
                 target = input(draw(row.positives, 1, mix(key, 0))[0], ids[i], 2 * place + 1);
    const bool both = usable(query) & usable(target);
    if (!both) continue;
    batch.queries.push_back(std::move(query)), batch.targets.push_back(std::move(target));
    for (const Side& side : draw(row.negatives, size_t(o.num_hardneg), mix(key, 1)))
      if (EncoderInput negative = input(side, ids[i], mix(key, 2 + negatives.size())); usable(negative))
        negatives.push_back(std::move(negative));
  }
  batch.targets.insert(batch.targets.end(), negatives.begin(), negatives.end());

  for (const auto* side : {&batch.queries, &batch.targets})
    for (const EncoderInput& input : *side)
      batch.tokens_without_picture += input.images.empty() && input.text.find(image_token) != std::string::npos;
  batch.groups = groups_of(batch.targets);
  std::vector<int32_t> sizes(batch.targets.size());
  for (const int32_t group : batch.groups) ++sizes[size_t(group)];
  const size_t pairs = batch.queries.size();
  for (size_t i = 0; i < pairs; ++i) batch.duplicates += double(sizes[size_t(batch.groups[i])] > 1) / double(pairs);

  std::vector<int32_t> labels(pairs);
  std::iota(labels.begin(), labels.end(), 0);
  batch.matching.labels = from_vector(labels, {int64_t(labels.size())}, device);
  if (o.mask_duplicates) batch.matching.groups = from_vector(batch.groups, {int64_t(batch.groups.size())}, device);
  return batch;
}

double TrainingBatch::accuracy(const std::vector<int32_t>& best) const {
  size_t right = 0;
  for (size_t i = 0; i < best.size(); ++i) right += groups[size_t(best[i])] == groups[i];
  return double(right) / double(best.size());
}

}  // namespace vlm2vec
