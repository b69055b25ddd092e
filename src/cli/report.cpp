#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/commands.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"
#include "show/report.h"

namespace vlm2vec {

Exit run_report(const Command& command, const Arguments& arguments) {
  namespace fs = std::filesystem;
  std::vector<std::string> folders;
  std::string output;
  bool json = false;
  CommandLine line(command.name, command.purpose, "report runs/demo");
  line.words("RUN...", folders,
             "the folder of make demo, or folders of train and eval, with an earlier evaluation before a later one");
  line("output", output, "<FILE> the HTML file to write (default: report.html in the first folder)");
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;

  const fs::path file = output.empty() ? fs::path(folders[0]) / "report.html" : fs::path(output);
  if (!output.empty()) check_output_file(file, kHtmlPage);
  std::ostringstream page;
  const ReportSummary summary = write_report(page, {folders.begin(), folders.end()}, version_json().dump(2));
  write_text(file, page.str());
  for (const std::string& what : summary.missing) std::cerr << "report: " << what << '\n';
  const nlohmann::ordered_json result = {
      {"report", file.string()},      {"steps", summary.steps},       {"evaluations", summary.evaluations},
      {"examples", summary.examples}, {"pictures", summary.pictures}, {"missing", summary.missing}};
  if (json) std::cout << result << '\n';
  else std::cout << "The report: " << file.string() << " (open it in a browser)\n";
  return Exit::ok;
}

}  // namespace vlm2vec
