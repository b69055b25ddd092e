#include "mmeb/evaluation/evaluation_files.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "io/files.h"
#include "mmeb/evaluation/metrics.h"
#include "tensor/parallel.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json score_json(const Metrics& metrics, const std::vector<RowResult>& results) {
  Json score;
  for (const auto& [key, value] : metrics) score[key] = value;
  const auto correct = std::count_if(results.begin(), results.end(), [](const RowResult& r) { return r.correct; });
  score["num_pred"] = results.size();
  score["num_data"] = results.size();
  score["acc"] = double(correct) / double(results.size());
  score["num_correct"] = correct;
  score["num_ties"] = std::count_if(results.begin(), results.end(), [](const RowResult& r) { return r.tie(); });
  return score;
}

// Python's str.isprintable: neither "other" nor a separator, except the blank.
bool is_printable(int32_t codepoint) {
  switch (utf8proc_category(codepoint)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return codepoint == ' ';
    default:
      return true;
  }
}

// Returns each number once, in order of appearance.
std::vector<int32_t> distinct(const std::vector<int32_t>& numbers, size_t end) {
  std::vector<bool> seen(end);
  std::vector<int32_t> kept;
  for (const int32_t number : numbers)
    if (!seen[size_t(number)]) seen[size_t(number)] = true, kept.push_back(number);
  return kept;
}

// Returns the candidates of all rows, each once, in order of appearance.
std::vector<int32_t> used_candidates(const EvaluationSet& set) {
  std::vector<bool> seen(set.candidates.size());
  std::vector<int32_t> used;
  for (const CandidateList& list : set.lists)
    for (size_t i = 0; i < list.size(); ++i)
      if (!seen[size_t(list[i])]) seen[size_t(list[i])] = true, used.push_back(list[i]);
  return used;
}

// Returns for each candidate the side that its name stands for.
std::vector<int32_t> first_of_name(const EvaluationSet& set, const std::vector<int32_t>& used) {
  std::unordered_map<std::string, int32_t> first;
  std::vector<int32_t> sides(set.candidates.size(), -1);
  for (const int32_t c : used) {
    const Candidate& candidate = set.candidates[size_t(c)];
    sides[size_t(c)] = first.emplace(candidate.name, candidate.side).first->second;
  }
  return sides;
}

std::string json_list(const std::vector<std::string>& texts, const std::vector<int32_t>& numbers) {
  std::string list = "[";
  for (size_t i = 0; i < numbers.size(); ++i) list += (i > 0 ? "," : "") + texts[size_t(numbers[i])];
  return list + "]";
}

}  // namespace

std::string python_literal(const std::string& text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string literal(1, quote);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t codepoint;
    const auto length = utf8proc_iterate(bytes + at, utf8proc_ssize_t(text.size() - at), &codepoint);
    if (length < 1) fail(Exit::data, "text is not UTF-8");
    const char c = text[at];
    char escape[16] = "";
    if (c == quote || c == '\\') std::snprintf(escape, sizeof escape, "\\%c", c);
    else if (c == '\n' || c == '\r' || c == '\t')
      std::snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (!is_printable(codepoint))
      std::snprintf(escape, sizeof escape,
                    codepoint < 0x100     ? "\\x%02x"
                    : codepoint < 0x10000 ? "\\u%04x"
                                          : "\\U%08x",
                    unsigned(codepoint));
    literal += *escape ? std::string(escape) : text.substr(at, size_t(length));
    at += size_t(length);
  }
  return literal + quote;
}

void write_lines(const fs::path& file, size_t rows, const std::function<std::string(size_t row)>& line) {
  write_atomically(file, [&](std::ostream& out) {
    std::vector<std::string> lines(64);  // not all at once: a line may name 50,000 candidates
    for (size_t first = 0; first < rows; first += lines.size()) {
      const size_t count = std::min(lines.size(), rows - first);
      parallel_each(count, [&](size_t i) { lines[i] = line(first + i); });
      for (size_t i = 0; i < count; ++i) out << lines[i] << '\n';
    }
  });
}

void write_embeddings(const fs::path& stem, const Tensor& embeddings, const std::vector<Side>& sides,
                      const std::vector<int32_t>& wanted) {
  const int64_t d = embeddings.columns();
  Tensor chosen({int64_t(wanted.size()), d}, DType::f32, Device::cpu);
  for (size_t i = 0; i < wanted.size(); ++i)
    std::memcpy(chosen.data<float>() + int64_t(i) * d, embeddings.data<float>() + wanted[i] * d,
                size_t(d) * sizeof(float));
  write_npy(stem.string() + ".npy", chosen);
  write_lines(stem.string() + "_ids.jsonl", wanted.size(), [&](size_t row) {
    const Side& side = sides[size_t(wanted[row])];
    Json line = {{"text", side.text}, {"img_path", side.image()}};
    if (side.images.size() > 1) line["img_path"] = side.images;
    return line.dump();
  });
}

FileGroup set_files(const std::string& set) {
  FileGroup group{set, {}, {}};
  for (const char* what : {"_pred.jsonl", "_pred.txt", "_info.jsonl", "_score.json"}) group.files.push_back(set + what);
  for (const char* what : {"_qry.npy", "_qry_ids.jsonl", "_tgt.npy", "_tgt_ids.jsonl", "_skipped_rows.jsonl"})
    group.optional.push_back(set + what);
  return group;
}

Json write_set_files(const fs::path& folder, const EvaluationSet& set, const Tensor& embeddings,
                     const std::vector<RowResult>& results, bool with_embeddings) {
  const auto stem = [&](const char* what) { return folder / (set.name + what); };
  const std::vector<int32_t> used = used_candidates(set);
  const std::vector<int32_t> named = first_of_name(set, used);
  std::vector<std::string> names;  // as JSON, once for all rows
  for (const Candidate& candidate : set.candidates) names.push_back(Json(candidate.name).dump());
  const size_t rows = set.lists.size();
  const auto label = [&](size_t row) { return size_t(set.lists[row][0]); };

  const Scorer scorer(embeddings, Score::dot);
  std::vector<RankedNames> best(rows);
  write_lines(stem("_pred.jsonl"), rows, [&](size_t row) {
    std::vector<int32_t> prediction = set.lists[row].numbers(), sides;
    for (const int32_t c : prediction) sides.push_back(named[size_t(c)]);
    prediction = best_first(scorer(set.queries[row], sides));
    for (int32_t& place : prediction) place = set.lists[row][size_t(place)];
    best[row].label = {set.candidates[label(row)].name};
    for (size_t i = 0; i < std::min(kLastRank, prediction.size()); ++i)
      best[row].prediction.push_back(set.candidates[size_t(prediction[i])].name);
    return "{\"prediction\":" + json_list(names, prediction) + ",\"label\":[" + names[label(row)] +
           "],\"rel_scores\":null}";
  });
  write_lines(stem("_pred.txt"), rows, [&](size_t row) {
    const int32_t winner = set.lists[row][size_t(results[row].best)];
    const Side& side = set.sides[size_t(set.candidates[size_t(winner)].side)];
    return "(" + python_literal(side.text) + ", " + python_literal(side.image()) + ")";
  });
  write_lines(stem("_info.jsonl"), rows, [&](size_t row) {
    return "{\"cand_names\":" + json_list(names, set.lists[row].numbers()) + ",\"label_name\":" + names[label(row)] +
           "}";
  });
  if (with_embeddings) {
    std::vector<int32_t> targets;
    for (const int32_t c : used) targets.push_back(set.candidates[size_t(c)].side);
    write_embeddings(stem("_qry"), embeddings, set.sides, distinct(set.queries, set.sides.size()));
    write_embeddings(stem("_tgt"), embeddings, set.sides, distinct(targets, set.sides.size()));
  }
  return score_json(ranking_metrics(best), results);
}

}  // namespace vlm2vec
