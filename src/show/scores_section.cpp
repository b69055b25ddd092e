// The table of scores as in the paper, with a bar for each.
#include <algorithm>

#include "io/text.h"
#include "show/html.h"
#include "show/sections.h"

namespace vlm2vec {
namespace {

struct Columns {
  double chance, before, after;  // percent; −1: none
  const Estimate* interval;
};

// Draws chance as a tick, before as a ring and after as a dot in its interval, from 0 to 100.
std::string bar(const Columns& c) {
  const auto x = [](double percent) { return fixed(4 + 1.92 * percent, 1); };
  std::string html =
      "<svg class=\"bar\" viewBox=\"0 0 200 14\" aria-hidden=\"true\"><line class=\"grid\" x1=\"4\" x2=\"196\" "
      "y1=\"7\" y2=\"7\"/>";
  if (c.before >= 0 && c.after >= 0)
    html += "<line class=\"gain\" x1=\"" + x(c.before) + "\" x2=\"" + x(c.after) + "\" y1=\"7\" y2=\"7\"/>";
  if (c.interval)
    html += "<line class=\"interval\" x1=\"" + x(c.interval->low) + "\" x2=\"" + x(c.interval->high) +
            "\" y1=\"7\" y2=\"7\"/>";
  if (c.chance >= 0)
    html += "<line class=\"chance\" x1=\"" + x(c.chance) + "\" x2=\"" + x(c.chance) + "\" y1=\"2\" y2=\"12\"/>";
  if (c.before >= 0) html += "<circle class=\"before\" cx=\"" + x(c.before) + "\" cy=\"7\" r=\"3.2\"/>";
  if (c.after >= 0) html += "<circle class=\"after\" cx=\"" + x(c.after) + "\" cy=\"7\" r=\"3.6\"/>";
  return html + "</svg>";
}

std::string table_row(const std::string& style, const std::string& title, const Columns& c, bool with_before) {
  const auto cell = [](double value) { return "<td>" + (value < 0 ? "–" : fixed(value, 1)) + "</td>"; };
  std::string html = "<tr class=\"" + style + "\"><th scope=\"row\">" + title + "</th>" + cell(c.chance);
  if (with_before) html += cell(c.before);
  html += cell(c.after) + "<td class=\"range\">";
  if (c.interval) html += "[" + fixed(c.interval->low, 1) + ", " + fixed(c.interval->high, 1) + "]";
  return html + "</td><td class=\"graph\">" + bar(c) + "</td></tr>\n";
}

}  // namespace

std::string fixed(double value, int digits) { return formatted("%.*f", digits, value); }

std::string scores_section(const std::vector<EvaluationRun>& evaluations) {
  const Summary &after = evaluations.back().summary, chance = chance_summary(after);
  const bool two = evaluations.size() > 1;
  const Summary before = two ? evaluations[evaluations.size() - 2].summary : Summary{};
  const Estimates estimates = intervals(after);
  const std::string title = escape_html(evaluations.back().title()),
                    other = two ? escape_html(evaluations[evaluations.size() - 2].title()) : "";
  std::string html =
      "<section>\n<h2>Scores</h2>\n<p>Precision@1 in percent: how often the right candidate of a query has the highest "
      "score. Each set counts the same in a mean, however many rows it has. IND sets resemble the training data, OOD "
      "sets (marked *) do not.</p>\n<div class=\"scroll\"><table "
      "class=\"scores\">\n<thead><tr><th>set</th><th>chance</th>" +
      (two ? "<th>" + other + "</th>" : "") + "<th>" + title +
      "</th><th>95 % interval</th><th class=\"graph\">0 – 100</th></tr>"
      "</thead>\n<tbody>\n";
  for (const MeanScore& group : kMeanScores) {
    if (after.*group.score < 0) continue;
    for (const SetScore& set : after.sets) {
      if (set.task.meta_task != group.key) continue;
      const auto same = std::ranges::find(before.sets, set.name, &SetScore::name);
      html += table_row("set",
                        escape_html(set.name) + (set.task.optional         ? " (+)"
                                                 : set.task.split == "OOD" ? " *"
                                                                           : ""),
                        {set.chance, same == before.sets.end() ? -1 : same->accuracy, set.accuracy,
                         find_estimate(estimates.sets, set.name)},
                        two);
    }
    html += table_row(std::string("mean ") + group.key, group.long_title,
                      {chance.*group.score, two ? before.*group.score : -1, after.*group.score,
                       find_estimate(estimates.groups, group.key)},
                      two);
  }
  html += "</tbody></table></div>\n<p class=\"caption\">Tick: chance";
  if (two) html += "; ring: " + other;
  html +=
      "; dot: " + title +
      ", in its interval. The interval shows the error from sampling the rows: it holds the middle 95 % of scores when "
      "rows are resampled. It does not cover the effect of another training seed.</p>\n";
  return html + "</section>\n";
}

}  // namespace vlm2vec
