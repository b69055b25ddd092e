// A heat map of the loss's input: the similarities of all queries and targets of a batch.
#include <algorithm>

#include "io/error.h"
#include "show/html.h"
#include "show/sections.h"

namespace vlm2vec {
namespace {

constexpr size_t kSets = 8, kPairs = 16;            // in the batch
constexpr double kCell = 34, kAxis = 96, kGap = 4;  // pixels of the viewBox

struct BatchPair {
  std::string set;
  size_t row;
};

const RankedSet* find_set(const std::vector<RankedSet>& sets, const std::string& name) {
  const auto found = std::ranges::find_if(sets, [&](const RankedSet& s) { return s.rows.name == name; });
  return found == sets.end() ? nullptr : &*found;
}

int32_t target_of(const RankedSet& set, size_t row) { return set.rows.candidates[size_t(set.rows.lists[row][0])].side; }

// Chooses rows with different targets, equally many from each of up to eight sets spread over the table of sets.
std::vector<BatchPair> choose_batch(const std::vector<RankedSet>& sets) {
  std::vector<BatchPair> batch;
  const size_t count = std::min(kSets, sets.size()), rows = kPairs / count;
  for (size_t i = 0; i < count; ++i) {
    const RankedSet& set = sets[i * sets.size() / count];
    std::vector<int32_t> targets;
    for (size_t row = 0; row < set.rows.queries.size() && targets.size() < rows; ++row)
      if (std::ranges::find(targets, target_of(set, row)) == targets.end()) {
        targets.push_back(target_of(set, row));
        batch.push_back({set.rows.name, row});
      }
  }
  return batch;
}

std::string shortened(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (uint8_t(text[end]) & 0xC0) == 0x80) --end;  // does not split a character
  return text.substr(0, end) + "…";
}

// Shows the picture, or the beginning of the text; `across`: on the upper axis, with vertical text.
std::string axis_label(const RankedSet& set, int32_t number, size_t i, bool across, Gallery& gallery) {
  const Side& side = set.rows.sides[size_t(number)];
  const double middle = kAxis + (double(i) + 0.5) * kCell, size = kCell - kGap;
  std::string html = "<g><title>" + escape_html(set.rows.name + ": " + shown_text(side)) + "</title>";
  if (!side.images.empty()) {
    const double near = kAxis - kGap - size;
    html += gallery.show_in_svg(set.pictures, side.images[0], across ? middle - size / 2 : near,
                                across ? near : middle - size / 2, size);
  } else {
    std::string words = shown_text(side);
    const std::string instruction = across ? "" : instruction_of(set);
    if (words.size() > instruction.size()) words = words.substr(instruction.size());
    const std::string text = escape_html(shortened(words, 13));
    html += across ? sentence("<text transform=\"translate(", middle + 4, " ", kAxis - kGap, ") rotate(-90)\">", text,
                              "</text>")
                   : sentence("<text x=\"", kAxis - kGap, "\" y=\"", middle + 4, "\" text-anchor=\"end\">", text,
                              "</text>");
  }
  return html + "</g>\n";
}

double cosine(const RankedSet& a, int32_t row_a, const RankedSet& b, int32_t row_b) {
  const int64_t d = std::min(a.embeddings.columns(), b.embeddings.columns());
  const float *x = a.embeddings.data<float>() + row_a * d, *y = b.embeddings.data<float>() + row_b * d;
  double sum = 0;  // the cosine, as both vectors have length 1
  for (int64_t i = 0; i < d; ++i) sum += double(x[i]) * double(y[i]);
  return sum;
}

std::string heat_map(const std::string& title, const std::vector<RankedSet>& sets, const std::vector<BatchPair>& batch,
                     Gallery& gallery) {
  const double side = kAxis + kCell * double(batch.size()) + 1;
  std::string axes, cells;
  size_t right = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const RankedSet& query = *find_set(sets, batch[i].set);
    const int32_t q = query.rows.queries[batch[i].row];
    axes +=
        axis_label(query, q, i, false, gallery) + axis_label(query, target_of(query, batch[i].row), i, true, gallery);
    double best = -2, own = 0;
    for (size_t j = 0; j < batch.size(); ++j) {
      const RankedSet& target = *find_set(sets, batch[j].set);
      const double score = cosine(query, q, target, target_of(target, batch[j].row));
      best = std::max(best, score);
      if (i == j) own = score;
      cells += sentence("<rect class=\"", score < 0 ? "negative" : "positive", i == j ? " own" : "", "\" x=\"",
                        kAxis + double(j) * kCell, "\" y=\"", kAxis + double(i) * kCell, "\" width=\"", kCell - 1,
                        "\" height=\"", kCell - 1, "\" fill-opacity=\"", fixed(std::min(1.0, std::abs(score)), 3),
                        "\"><title>", escape_html(batch[i].set), " ", i + 1, " → ", escape_html(batch[j].set), " ",
                        j + 1, ": ", fixed(score, 3), "</title></rect>");
    }
    right += own >= best;
    cells += '\n';
  }
  return sentence("<figure>\n<h3>", escape_html(title), "</h3>\n<svg class=\"heat\" style=\"max-width:", side,
                  "px\" viewBox=\"0 0 ", side, " ", side, "\" role=\"img\" aria-label=\"similarities of ", batch.size(),
                  " queries and targets\">\n", axes, cells, "</svg>\n<figcaption>", right, " of ", batch.size(),
                  " queries are nearest to their own target.</figcaption>\n</figure>\n");
}

}  // namespace

std::string similarity_section(const std::vector<RankedEvaluation>& evaluations, Gallery& gallery) {
  if (evaluations.empty() || evaluations.back().second.empty()) return "";
  const std::vector<BatchPair> batch = choose_batch(evaluations.back().second);
  std::string html =
      "<section>\n<h2>A batch as the loss sees it</h2>\n<p>Rows are queries, columns are targets; the framed diagonal "
      "holds each query's own target. Stronger blue means a larger cosine of the two embeddings; orange is negative. "
      "The loss raises the diagonal and lowers the rest of each row. Targets of one set are adjacent: they are harder "
      "to tell apart than targets of different sets. The rows are test rows, from the stored vectors.</p>\n"
      "<div class=\"charts\">\n";
  for (const auto& [title, sets] : evaluations) {
    const bool whole = std::ranges::all_of(batch, [&](const BatchPair& p) {
      const RankedSet* set = find_set(sets, p.set);
      return set && p.row < set->rows.queries.size();
    });
    if (whole) html += heat_map(title, sets, batch, gallery);
  }
  return html + "</div>\n</section>\n";
}

}  // namespace vlm2vec
