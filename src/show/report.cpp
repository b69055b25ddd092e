#include "show/report.h"

#include "io/error.h"
#include "show/html.h"
#include "show/sections.h"

namespace vlm2vec {

ReportSummary write_report(std::ostream& page, const std::vector<std::filesystem::path>& folders,
                           const std::string& version) {
  const Run run = read_run(folders);
  ReportSummary summary;
  Gallery gallery;
  std::vector<RankedEvaluation> ranked;
  const size_t count = run.evaluations.size();
  for (size_t i = count > 2 ? count - 2 : 0; i < count; ++i)
    ranked.emplace_back(run.evaluations[i].title(), read_ranked_sets(run.evaluations[i], summary.missing));
  if (!run.training)
    summary.missing.push_back("There are no curves: no folder of train was given, or it has no log.jsonl.");
  if (run.evaluations.empty())
    summary.missing.push_back(
        "There are no scores and examples: no folder of eval was given, or it has no summary.json.");
  else if (count == 1) summary.missing.push_back("Only one evaluation given; pass an earlier one to compare.");

  std::string title = "A VLM2Vec run";
  for (const auto& folder : folders) title += (&folder == &folders[0] ? ": " : ", ") + shown_place(folder);
  page << html_head(title, kReportStyle);
  page << "<p class=\"lead\">A vision-language model, turned into an embedding model: it maps texts and pictures to "
          "vectors. Training moves each query's vector towards its target's and away from all other targets of the "
          "batch (<a href=\"https://arxiv.org/abs/2410.05160\">VLM2Vec</a>).</p>\n"
       << head_section(run);
  for (const std::string& what : summary.missing) page << "<p class=\"note\">" << escape_html(what) << "</p>\n";
  if (count > 0) page << scores_section(run.evaluations);
  if (run.training) page << curves_section(*run.training);
  page << similarity_section(ranked, gallery);
  if (!ranked.empty() && !ranked.back().second.empty())
    page << examples_section(ranked.back().second, gallery, summary.examples);
  if (run.training) page << cost_section(*run.training);
  page << manifest_section(run, version) << gallery.definitions() << "<script>\n"
       << kReportScript << "</script>\n</html>\n";
  summary.steps = run.training ? int64_t(run.training->steps.size()) : 0;
  summary.evaluations = int64_t(count), summary.pictures = int64_t(gallery.size());
  return summary;
}

}  // namespace vlm2vec
