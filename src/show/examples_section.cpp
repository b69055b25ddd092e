// Rows with their pictures: the query and its five best candidates.
#include <algorithm>

#include "io/error.h"
#include "io/text.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "show/html.h"
#include "show/sections.h"

namespace vlm2vec {
namespace {

constexpr size_t kWrongRows = 4, kRightRows = 2, kBest = 5;  // rows per set; candidates per row

std::string side_html(const Side& side, const Pictures& pictures, Gallery& gallery,
                      const std::string& instruction = "") {
  std::string html;
  for (const std::string& image : side.images) html += gallery.show(pictures, image);
  std::string text = shown_text(side);
  if (!instruction.empty() && text.starts_with(instruction)) {
    html += "<p><em>" + escape_html(instruction) + "</em>";
    html += escape_html(text.substr(instruction.size())) + "</p>";
  } else if (side.images.empty() || !text.empty()) {
    html += "<p>" + escape_html(text) + "</p>";
  }
  return html;
}

// `with_text` is false if all candidates of the row are pictures with the same text.
std::string candidate_html(const RankedSet& set, int32_t side, bool with_text, float score, size_t rank, bool right,
                           Gallery& gallery) {
  const Side& candidate = set.rows.sides[size_t(side)];
  const std::string mark = right ? "<span class=\"mark\" title=\"the right one\">✓</span>" : "";
  return sentence("<li class=\"", right ? "answer" : "", rank == 1 ? " first" : "", "\"><div class=\"score\">", rank,
                  ". ", "<b>", fixed(score, 3), "</b>", mark, "</div>",
                  side_html({with_text ? candidate.text : "", candidate.images}, set.pictures, gallery), "</li>\n");
}

std::string example(const RankedSet& set, size_t row, const Scorer& score, const std::string& instruction,
                    Gallery& gallery) {
  std::vector<int32_t> sides;
  for (const int32_t c : set.rows.lists[row].numbers()) sides.push_back(set.rows.candidates[size_t(c)].side);
  const int32_t query = set.rows.queries[row];
  const std::vector<float> scores = score(query, sides);
  const std::vector<int32_t> order = best_first(scores);
  const auto right = [&](int32_t place) { return sides[size_t(place)] == sides[0]; };
  const size_t rank = size_t(std::find_if(order.begin(), order.end(), right) - order.begin()) + 1;
  const bool correct = set.results[row].correct;
  const Side& target = set.rows.sides[size_t(sides[0])];
  const bool same_text = std::ranges::all_of(sides, [&](int32_t s) {
    const Side& side = set.rows.sides[size_t(s)];
    return !side.images.empty() && side.text == target.text;
  });
  std::string html =
      sentence("<article class=\"example ", correct ? "right" : "wrong", "\" data-set=\"", escape_html(set.rows.name),
               "\">\n<h4>", escape_html(set.rows.name), " <small>row ", row + 1, "</small> <span class=\"verdict\">",
               correct ? "right" : sentence("wrong: the right one is number ", rank, " of ", order.size()),
               "</span></h4>\n<div class=\"query\">",
               side_html(set.rows.sides[size_t(query)], set.pictures, gallery, instruction), "</div>\n",
               same_text && !shown_text(target).empty()
                   ? "<p class=\"note\">Each candidate: " + escape_html(shown_text(target)) + "</p>\n"
                   : "",
               "<ol>\n");
  const auto add = [&](size_t i) {
    html += candidate_html(set, sides[size_t(order[i])], !same_text, scores[size_t(order[i])], i + 1, right(order[i]),
                           gallery);
  };
  for (size_t i = 0; i < std::min(kBest, order.size()); ++i) add(i);
  if (rank > kBest) add(rank - 1);
  return html + "</ol>\n</article>\n";
}

// Chooses the first wrong and the first right rows of a set.
void choose(const RankedSet& set, std::vector<std::pair<const RankedSet*, size_t>>& wrong,
            std::vector<std::pair<const RankedSet*, size_t>>& right) {
  size_t wrongs = 0, rights = 0;
  for (size_t row = 0; row < set.results.size(); ++row) {
    const bool correct = set.results[row].correct;
    if (correct ? rights++ < kRightRows : wrongs++ < kWrongRows) (correct ? right : wrong).emplace_back(&set, row);
  }
}

std::string filter(const std::vector<RankedSet>& sets) {
  std::string options = "<option value=\"\">all sets</option>";
  for (const RankedSet& set : sets) options += "<option>" + escape_html(set.rows.name) + "</option>";
  return "<form class=\"filter\" hidden>\n<label>Set <select name=\"set\">" + options +
         "</select></label>\n<label>Answers <select name=\"outcome\"><option value=\"\">wrong and "
         "right</option><option "
         "value=\"wrong\">wrong</option><option "
         "value=\"right\">right</option></select></label>\n<output></output>\n</form>\n";
}

}  // namespace

std::string shown_text(const Side& side) {
  std::string text = side.text;
  for (size_t i = 1; i <= side.images.size(); ++i) {
    const std::string token = sentence("<|image_", i, "|>");
    if (const size_t at = text.find(token); at != text.npos) text.erase(at, token.size());
  }
  return strip(text, " \n");
}

std::string instruction_of(const RankedSet& set) {
  std::vector<std::string> queries;
  for (const int32_t query : set.rows.queries) queries.push_back(shown_text(set.rows.sides[size_t(query)]));
  return common_instruction(queries);
}

std::string examples_section(const std::vector<RankedSet>& sets, Gallery& gallery, int64_t& examples) {
  std::string html = sentence(
      "<section id=\"examples\">\n<h2>Examples</h2>\n<p>The first ", kWrongRows, " wrong and ", kRightRows,
      " right answers of each set. Each example shows the query, with its instruction in italics, above the five "
      "candidates with the highest scores (cosine of two embeddings, at most 1). The right candidate (✓) is added if "
      "it is not among them. A wrong answer is a near miss if its score is close to the right one's.</p>\n");
  html += filter(sets);
  for (const MeanScore& meta_task : kMeanScores) {  // no set has a split as its meta-task
    std::vector<std::pair<const RankedSet*, size_t>> wrong, right;
    for (const RankedSet& set : sets)
      if (set.task.meta_task == meta_task.key) choose(set, wrong, right);
    if (wrong.empty() && right.empty()) continue;
    html += sentence("<section class=\"meta-task\">\n<h3>", meta_task.long_title, "</h3>\n<div class=\"examples\">\n");
    wrong.insert(wrong.end(), right.begin(), right.end());
    const RankedSet* last = nullptr;
    std::optional<Scorer> score;
    std::string instruction;
    for (const auto& [set, row] : wrong) {
      if (set != last) {
        instruction = instruction_of(*set);
        score.emplace(set->embeddings, Score::cosine);
        last = set;
      }
      html += example(*set, row, *score, instruction, gallery);
      ++examples;
    }
    html += "</div>\n</section>\n";
  }
  return html + "</section>\n";
}

}  // namespace vlm2vec
