// The report of a run: one HTML page with curves, scores, examples, similarities, times and all options. Nothing is
// loaded from elsewhere; the script only filters examples.
#pragma once
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace vlm2vec {

struct ReportSummary {
  int64_t steps = 0, evaluations = 0, examples = 0, pictures = 0;
  std::vector<std::string> missing;  // parts that are not in the page, and why: sentences
};

// `folders`: what `make demo` leaves (model, untrained, trained below it), or folders that train or eval wrote: at most
// one training, and evaluations, the one to report on last, an earlier one before it. `version`: of the program, for
// the manifest. Exit::data if a folder is neither.
ReportSummary write_report(std::ostream& page, const std::vector<std::filesystem::path>& folders,
                           const std::string& version);

extern const char* const kReportStyle;   // report.css
extern const char* const kReportScript;  // report.js

}  // namespace vlm2vec
