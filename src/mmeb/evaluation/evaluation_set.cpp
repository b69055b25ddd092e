#include "mmeb/evaluation/evaluation_set.h"

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/sha256.h"

namespace vlm2vec {

int32_t EvaluationSet::number(const Side& side, size_t row) {
  size_t hash = std::hash<std::string>()(side.text);
  for (const std::string& image : side.images) hash = hash * 31 + std::hash<std::string>()(image);
  const auto [begin, end] = numbers_.equal_range(hash);
  const auto same = std::find_if(begin, end, [&](const auto& known) { return sides[size_t(known.second)] == side; });
  if (same != end) return same->second;
  const int32_t number = numbers_.emplace(hash, int32_t(sides.size()))->second;
  sides.push_back(side), first_rows.push_back(row), candidates_of_.emplace_back();
  return number;
}

void EvaluationSet::add(const EvalRow& row) {
  const size_t place = queries.size();
  queries.push_back(number(row.query, place));
  std::vector<int32_t> list;
  std::string identity = row.query.image();
  for (size_t i = 0; i < row.candidates.size(); ++i) {
    const int32_t side = number(row.candidates[i], place);
    std::vector<int32_t>& known = candidates_of_[size_t(side)];
    auto same =
        std::find_if(known.begin(), known.end(), [&](int32_t c) { return candidates[size_t(c)].name == row.names[i]; });
    if (same == known.end()) {
      same = known.insert(same, int32_t(candidates.size()));
      candidates.push_back({side, row.names[i]});
    }
    list.push_back(*same);
    identity += '\0' + row.names[i];
  }
  lists.emplace_back(std::move(list));
  const Digest digest = sha256(identity);
  digests.append(digest.begin(), digest.end());
}

void check_pictures(const EvaluationSet& set, PictureCheck& pictures) {
  for (size_t i = 0; i < set.sides.size(); ++i)
    for (const std::string& image : set.sides[i].images) pictures.add(image, set.first_rows[i], set.name);
}

std::vector<EncoderInput> encoder_inputs(const EvaluationSet& set, const std::string& image_token,
                                         const Pictures& pictures) {
  std::vector<EncoderInput> inputs;
  for (size_t i = 0; i < set.sides.size(); ++i) {
    inputs.push_back(encoder_input(set.sides[i], image_token, pictures));
    inputs.back().row = sentence("row ", set.first_rows[i] + 1, " of ", set.name);
  }
  return inputs;
}

}  // namespace vlm2vec
