// The report of a run: one HTML page with curves, scores, examples, similarities, times and all options. The page loads
// no other file; its script only filters examples.
#pragma once
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace vlm2vec {

struct ReportSummary {
  int64_t steps = 0, evaluations = 0, examples = 0, pictures = 0;
  std::vector<std::string> missing;  // one sentence for each part missing in the page: which and why
};

// `folders` is a folder of `make demo` (with model, untrained, trained), or folders that train or eval wrote. At most
// one may be a training; the last evaluation is reported and compared with the one before. `version` is the program's,
// for the manifest. Exit::data if a folder is not a run.
ReportSummary write_report(std::ostream& page, const std::vector<std::filesystem::path>& folders,
                           const std::string& version);

extern const char* const kReportStyle;   // report.css
extern const char* const kReportScript;  // report.js

}  // namespace vlm2vec
