#include "mmeb/evaluation/evaluation_files.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tensor/io/npy.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json score_json(const EvaluatedSet& set) {
  Json score;
  for (const auto& [key, value] : ranking_metrics(set.predictions)) score[key] = value;
  const auto correct = std::count_if(set.results.begin(), set.results.end(), [](const auto& r) { return r.correct; });
  score["num_pred"] = set.predictions.size();
  score["num_data"] = set.rows.size();
  score["acc"] = double(correct) / double(set.rows.size());
  score["num_correct"] = correct;
  score["num_ties"] = std::count_if(set.results.begin(), set.results.end(), [](const auto& r) { return r.tie(); });
  return score;
}

// str.isprintable: neither "other" nor a separator, but for the blank.
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

// The numbers in `lists`, each once, in the order in which they come.
std::vector<int32_t> distinct(const std::vector<std::vector<int32_t>>& lists, size_t sides) {
  std::vector<bool> seen(sides);
  std::vector<int32_t> numbers;
  for (const std::vector<int32_t>& list : lists)
    for (const int32_t number : list)
      if (!seen[size_t(number)]) seen[size_t(number)] = true, numbers.push_back(number);
  return numbers;
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

EvaluatedSet rank_set(std::string name, std::vector<EvalRow> rows, std::vector<Side> sides, Tensor embeddings,
                      std::vector<int32_t> queries, std::vector<std::vector<int32_t>> candidates) {
  std::map<std::string, int32_t> first_of_name;
  std::vector<std::vector<int32_t>> named;
  for (size_t i = 0; i < rows.size(); ++i) {
    named.emplace_back();
    for (size_t c = 0; c < candidates[i].size(); ++c)
      named.back().push_back(first_of_name.emplace(rows[i].names[c], candidates[i][c]).first->second);
  }
  std::vector<RankedNames> predictions;
  const auto lists = rank_lists(embeddings, queries, named, Score::dot);
  for (size_t i = 0; i < rows.size(); ++i) {
    predictions.push_back({{}, {rows[i].names[0]}});
    for (const int32_t c : lists[i]) predictions.back().prediction.push_back(rows[i].names[size_t(c)]);
  }
  std::vector<RowResult> results = rank(embeddings, queries, candidates);
  return {std::move(name),    std::move(rows),       std::move(sides),   std::move(embeddings),
          std::move(queries), std::move(candidates), std::move(results), std::move(predictions)};
}

void write_embeddings(const fs::path& stem, const Tensor& embeddings, const std::vector<Side>& sides,
                      const std::vector<int32_t>& wanted) {
  const int64_t d = embeddings.columns();
  Tensor chosen({int64_t(wanted.size()), d}, DType::f32, Device::cpu);
  for (size_t i = 0; i < wanted.size(); ++i)
    std::memcpy(chosen.data<float>() + int64_t(i) * d, embeddings.data<float>() + wanted[i] * d,
                size_t(d) * sizeof(float));
  write_npy(stem.string() + ".npy", chosen);
  write_atomically(stem.string() + "_ids.jsonl", [&](std::ostream& out) {
    for (const int32_t i : wanted)
      out << Json{{"text", sides[size_t(i)].text}, {"img_path", sides[size_t(i)].image}}.dump() << '\n';
  });
}

void write_predictions(const fs::path& file, const std::vector<RankedNames>& rows) {
  write_atomically(file, [&](std::ostream& out) {
    for (const RankedNames& row : rows)
      out << Json{{"prediction", row.prediction}, {"label", row.label}, {"rel_scores", nullptr}}.dump() << '\n';
  });
}

void write_set_files(const fs::path& folder, const EvaluatedSet& set, bool with_embeddings) {
  const auto stem = [&](const char* what) { return folder / (set.name + what); };
  write_predictions(stem("_pred.jsonl"), set.predictions);
  write_atomically(stem("_pred.txt"), [&](std::ostream& out) {
    for (size_t i = 0; i < set.rows.size(); ++i) {
      const Side& best = set.rows[i].candidates[size_t(set.results[i].best)];
      out << '(' << python_literal(best.text) << ", " << python_literal(best.image) << ")\n";
    }
  });
  write_atomically(stem("_info.jsonl"), [&](std::ostream& out) {
    for (const EvalRow& row : set.rows)
      out << Json{{"cand_names", row.names}, {"label_name", row.names[0]}}.dump() << '\n';
  });
  if (with_embeddings) {
    write_embeddings(stem("_qry"), set.embeddings, set.sides, distinct({set.queries}, set.sides.size()));
    write_embeddings(stem("_tgt"), set.embeddings, set.sides, distinct(set.candidates, set.sides.size()));
  }
  write_text(stem("_score.json"), score_json(set).dump(2) + "\n");  // last: where it is, the set is complete
}

}  // namespace vlm2vec
