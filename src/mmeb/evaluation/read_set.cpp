#include "mmeb/evaluation/read_set.h"

#include <sys/stat.h>

#include <algorithm>

#include "io/error.h"
#include "io/sha256.h"
#include "io/text.h"
#include "mmeb/registry/registry.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

std::string instruction_of(const EvaluationSet& set) {
  if (const RegisteredSet* known = registered(set.name))
    return common_instruction({known->query.substr(0, known->query.find('{'))});
  std::vector<std::string> queries;
  for (size_t row = 0; row < set.queries.size(); ++row)
    if (!set.faults.contains(row)) queries.push_back(set.sides[size_t(set.queries[row])].text);
  return common_instruction(queries);
}

double accuracy(const std::vector<RowResult>& results) {
  return 100.0 * double(std::ranges::count(results, true, &RowResult::correct)) / double(results.size());
}

// Returns size and time of modification of a picture's file, or of its archive; "" if there is none.
std::string stamp_of_picture(fs::path file) {
  struct stat s {};
  while (stat(file.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) {
    if (!file.has_relative_path()) return "";
    file = file.parent_path();
  }
  return sentence(s.st_size, " ", s.st_mtim.tv_sec, ".", s.st_mtim.tv_nsec);
}

// The hashed bytes: each text follows its length, so that no two contents have the same bytes.
class SetContent {
 public:
  void add(const std::string& text) { bytes_ += sentence(text.size(), " ", text); }
  void add(int64_t number) { bytes_.append(reinterpret_cast<const char*>(&number), sizeof number); }
  void add(const std::vector<int32_t>& numbers) {
    add(int64_t(numbers.size()));
    bytes_.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(int32_t));
  }
  std::string digest() const { return hex(sha256(bytes_)); }

 private:
  std::string bytes_;
};

}  // namespace

EvaluationSet read_set(const SetSource& source, const Pictures& pictures, const PromptStyle* style,
                       const PromptVariants& prompt_variants, const RowFault& fault) {
  EvaluationSet set;
  set.name = source.name, set.style = style;
  if (const RegisteredSet* known = registered(source.name))
    set.query_form = known->query, set.target_form = known->target;
  int64_t rows = 0;
  const auto add = [&](const EvalRow& row) {
    if (source.limit > 0 && ++rows > source.limit) set.cut = true;
    else set.add(row);
  };
  const auto keep = [&](const Error& error) {
    fault(error);
    const size_t row = set.queries.size();
    add({});
    if (!set.cut) set.faults[row] = error.what();
  };
  read_eval_rows(source.file, add, source.limit > 0 ? source.limit + 1 : 0, pictures, fault ? keep : RowFault());
  const std::vector<std::string> instructions = variants_of(prompt_variants, source.name);
  if (!instructions.empty()) set.instruction = instruction_of(set);
  for (const std::string& instruction : instructions) {
    set.variants.push_back({instruction, {}});
    for (size_t row = 0; row < set.queries.size(); ++row) {
      Side query = set.sides[size_t(set.queries[row])];
      if (!set.faults.contains(row)) query.text = with_instruction(query.text, set.instruction, instruction);
      set.variants.back().queries.push_back(set.number(query, row));
    }
  }
  return set;
}

std::string content_digest(const EvaluationSet& set, const SetSource& source, const std::vector<EncoderInput>& inputs) {
  SetContent content;
  for (const EncoderInput& input : inputs) {
    content.add(input.text);
    for (const PictureSource& picture : input.images)
      content.add(picture.is_file() ? stamp_of_picture(picture.name()) : picture.key());
  }
  for (const Side& side : set.sides) {
    content.add(int64_t(side.images.size()));
    for (const std::string& image : side.images) content.add(image);
  }
  for (const Candidate& candidate : set.candidates) content.add(candidate.side), content.add(candidate.name);
  for (const CandidateList& list : set.lists) content.add(list.numbers());
  content.add(set.queries);
  for (const Variant& variant : set.variants) content.add(variant.instruction), content.add(variant.queries);
  content.add(source.global);
  return content.digest();
}

Unusable leave_out(EvaluationSet& rows, const std::vector<std::string>& faults, bool own) {
  Unusable unusable;
  std::vector<int32_t> numbers;  // per candidate: its new number, or -1 if it cannot be read
  std::vector<Candidate> candidates;
  std::vector<bool> counted(rows.sides.size());
  for (const Candidate& candidate : rows.candidates) {
    const size_t side = size_t(candidate.side);
    numbers.push_back(faults[side].empty() ? int32_t(candidates.size()) : -1);
    if (faults[side].empty()) candidates.push_back(candidate);
    else if (!counted[side]) counted[side] = true, ++unusable.candidates;
  }
  std::vector<bool> listed(rows.sides.size());
  const auto fault_of_query = [&](size_t row) {
    std::string fault = faults[size_t(rows.queries[row])];
    for (const Variant& variant : rows.variants)
      if (fault.empty()) fault = faults[size_t(variant.queries[row])];
    return fault;
  };
  size_t kept = 0;
  std::vector<CandidateList> lists;
  for (size_t row = 0; row < rows.queries.size(); ++row) {
    const std::string name = sentence("row ", row + 1, " of ", rows.name);
    const auto leave = [&](const std::string& side, const std::string& fault) {
      unusable.sides.push_back({name, side, fault});
    };
    if (const auto unread = rows.faults.find(row); unread != rows.faults.end()) {
      leave("row", unread->second);
      continue;
    }
    std::vector<int32_t> list;
    const size_t size = rows.lists[row].size();
    std::string fault = fault_of_query(row), which = "query";
    for (size_t i = 0; i < size; ++i) {
      const int32_t candidate = rows.lists[row][i];
      const size_t side = size_t(rows.candidates[size_t(candidate)].side);
      if (faults[side].empty()) list.push_back(numbers[size_t(candidate)]);
      else if (i == 0 && fault.empty()) fault = faults[side], which = "candidate 1";
      else if (i > 0 && !listed[side]) listed[side] = true, leave(sentence("candidate ", i + 1), faults[side]);
    }
    if (own && fault.empty() && size > 1 && list.size() == 1) fault = "none of the other candidates can be read";
    if (!fault.empty()) {
      leave(which, fault);
      continue;
    }
    rows.queries[kept] = rows.queries[row];
    for (Variant& variant : rows.variants) variant.queries[kept] = variant.queries[row];
    rows.digests.replace(kept * sizeof(Digest), sizeof(Digest), rows.digests, row * sizeof(Digest), sizeof(Digest));
    lists.emplace_back(std::move(list));
    ++kept;
  }
  unusable.rows = int64_t(rows.queries.size() - kept);
  if (kept == 0)
    fail(Exit::data, rows.name, ": none of ", rows.queries.size(), " rows can be used; ", unusable.sides[0].row, ", ",
         unusable.sides[0].side, ": ", unusable.sides[0].fault);
  rows.queries.resize(kept), rows.digests.resize(kept * sizeof(Digest));
  for (Variant& variant : rows.variants) variant.queries.resize(kept);
  rows.lists = std::move(lists), rows.candidates = std::move(candidates);
  return unusable;
}

SetScore score_of(const EvaluationSet& set, const SetSource& source, const std::vector<RowResult>& results,
                  const Tensor& embeddings) {
  SetScore score{.name = set.name,
                 .accuracy = accuracy(results),
                 .rows = int64_t(results.size()),
                 .digest = hex(sha256(set.digests)),
                 .global = source.global,
                 .limit = set.cut ? source.limit : 0};
  for (const CandidateList& list : set.lists) score.chance += 100.0 / double(list.size()) / double(set.lists.size());
  for (const RowResult& result : results) {
    score.correct += result.correct;
    score.ties += result.tie();
    score.ties_last += result.correct && !result.ties.last;
    score.right += result.correct ? '1' : '0';
  }
  if (!set.variants.empty()) score.variants.emplace_back(set.instruction, score.accuracy);
  for (const auto& [instruction, queries] : set.variants)
    score.variants.emplace_back(instruction, accuracy(rank(embeddings, set, queries)));
  return score;
}

std::string repetition_note(const EvaluationSet& set) {
  size_t rows = 0;
  for (const CandidateList& list : set.lists) {
    const std::string& right = set.candidates[size_t(list[0])].name;
    size_t same = 0;
    for (size_t i = 0; i < list.size(); ++i) same += set.candidates[size_t(list[i])].name == right;
    rows += same > 1;
  }
  if (rows == 0) return "";
  return sentence(set.name, ": in ", counted(rows, "row"), " another candidate has the right one's name; map and ",
                  "ndcg count both, as the official evaluation does, and may exceed 1");
}

}  // namespace vlm2vec
