#include "mmeb/evaluation/evaluation_set.h"

#include <algorithm>

#include "io/error.h"
#include "io/sha256.h"
#include "mmeb/data/data_folder.h"
#include "mmeb/registry/registry.h"
#include "vlm/prompt.h"

namespace vlm2vec {

int32_t EvaluationSet::number(const Side& side, size_t row, int32_t candidate) {
  size_t hash = std::hash<std::string>()(side.text);
  for (const std::string& image : side.images) hash = hash * 31 + std::hash<std::string>()(image);
  const auto [begin, end] = numbers_.equal_range(hash);
  const auto same = std::find_if(begin, end, [&](const auto& known) {
    const bool same_part = (first_places[size_t(known.second)] < 0) == (candidate < 0);
    return sides[size_t(known.second)] == side && (!style || same_part);
  });
  if (same != end) return same->second;
  const int32_t number = numbers_.emplace(hash, int32_t(sides.size()))->second;
  sides.push_back(side), first_rows.push_back(row), first_places.push_back(candidate), candidates_of_.emplace_back();
  return number;
}

void EvaluationSet::add(const EvalRow& row) {
  const size_t place = queries.size();
  queries.push_back(number(row.query, place));
  std::vector<int32_t> list;
  std::string identity = row.query.image();
  for (size_t i = 0; i < row.candidates.size(); ++i) {
    const int32_t side = number(row.candidates[i], place, int32_t(i));
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

std::string EvaluationSet::set_and_candidate(size_t side) const {
  const int32_t candidate = first_places[side];
  return candidate < 0 ? name : sentence(name, ", candidate ", candidate + 1, " (index ", candidate, ")");
}

std::string EvaluationSet::place(size_t side) const {
  return sentence("row ", first_rows[side] + 1, " of ", set_and_candidate(side));
}

void check_pictures(const EvaluationSet& set, PictureCheck& pictures) {
  for (size_t i = 0; i < set.sides.size(); ++i)
    for (const std::string& image : set.sides[i].images)
      pictures.add(image, set.first_rows[i], set.set_and_candidate(i));
}

void check_texts(const EvaluationSet& set, const std::string& image_token) {
  for (size_t i = 0; i < set.sides.size(); ++i)
    if (const std::string fault = text_fault(set.sides[i], image_token); !fault.empty())
      fail(Exit::data, set.place(i), ": ", fault);
}

std::vector<EncoderInput> encoder_inputs(const EvaluationSet& set, const std::string& image_token,
                                         const Pictures& pictures) {
  std::vector<EncoderInput> inputs;
  for (size_t i = 0; i < set.sides.size(); ++i) {
    const Side& side = set.sides[i];
    const bool is_query = set.first_places[i] < 0;
    const auto restyled = [&] {
      const std::string& form = is_query ? set.query_form : set.target_form;
      return encoder_input(side, is_query, form, *set.style, image_token, pictures);
    };
    inputs.push_back(set.style ? naming(restyled, set.place(i)) : encoder_input(side, image_token, pictures));
    inputs.back().row = set.place(i);
  }
  return inputs;
}

}  // namespace vlm2vec
