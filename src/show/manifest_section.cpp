// The head of the page, and its end: everything needed to repeat the run.
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/progress.h"
#include "io/shell_word.h"
#include "mmeb/evaluation/eval_options.h"
#include "mmeb/training/train_options.h"
#include "show/chart.h"
#include "show/html.h"
#include "show/sections.h"
#include "tensor/cpu/speed.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string when(std::time_t time) {
  char text[64];
  std::tm parts;
  std::strftime(text, sizeof text, "%-d %B %Y, %H:%M", localtime_r(&time, &parts));
  return text;
}

std::string written(const fs::path& file) {
  const auto time = std::chrono::file_clock::to_sys(fs::last_write_time(file));
  return when(std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::seconds>(time)));
}

std::string number(const std::string& value, const std::string& name, const std::string& note) {
  return "<div class=\"number\"><b>" + value + "</b><span>" + name + "</span><small>" + note + "</small></div>\n";
}

std::string shown(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string text = value;
  return text.starts_with('/') ? shown_place(text) : text;
}

// Returns the command with all options that differ from the defaults, quoted for a shell.
template <class Options>
std::string command(const std::string& name, const Json& options, const std::string& output_option,
                    const fs::path& output) {
  Json defaults;
  Options().fields([&](const char* option, const auto& value, const char*) { defaults[option] = value; });
  const auto quoted = [](const Json& value) { return shell_word(shown(value)); };
  std::string line = command_line(name);
  for (const auto& [option, value] : options.items()) {
    if (!defaults.contains(option) || defaults[option] == value) continue;
    line += " --" + option;
    if (value.is_array())
      for (const Json& item : value) line += " " + quoted(item);
    else line += " " + quoted(value);
  }
  if (!options.contains(output_option)) line += " --" + output_option + " " + shell_word(shown_place(output));
  return line;
}

// Returns train's options with paths that are valid in the report's working directory.
Json seen_from_here(Json options) {
  const fs::path there = options.value("working_directory", "");
  if (there.empty() || there == fs::current_path()) return options;
  for (const char* name : {"model_name", "adapter", "dataset_name", "dataset_config", "data_basedir", "train_file",
                           "image_dir", "batches", "output_dir", "logging_dir"})
    if (const std::string path = options.value(name, ""); !path.empty())
      options[name] = (there / path).lexically_normal().string();
  return options;
}

// Returns the `data mini` command that made the data, if its manifest lies beside the folder of the sets.
std::string data_command(const Json& options) {
  const fs::path folder = fs::path(options.value("dataset_name", "") + "/").parent_path().parent_path();
  if (!fs::is_regular_file(folder / "manifest.json")) return "";
  const Json manifest = Json::parse(read_text(folder / "manifest.json"), nullptr, false);
  if (!manifest.is_object() || !manifest.value("format", "").starts_with("vlm2vec miniature MMEB")) return "";
  return sentence(command_line("data mini"), " --output_dir ", shell_word(shown_place(folder)), " --train_rows ",
                  manifest.value("train_rows", 0), " --test_rows ", manifest.value("test_rows", 0), " --seed ",
                  manifest.value("seed", 0), "\n");
}

std::string details(const std::string& title, const std::string& content) {
  return "<details><summary>" + escape_html(title) + "</summary>\n" + content + "</details>\n";
}

std::string options_table(const Json& options) {
  std::string html = "<table class=\"options\">\n";
  for (const auto& [name, value] : options.items())
    html += "<tr><th scope=\"row\">" + escape_html(name) + "</th><td>" + escape_html(shown(value)) + "</td></tr>\n";
  return html + "</table>\n";
}

std::string pre(const std::string& text) { return "<pre>" + escape_html(text) + "</pre>\n"; }

}  // namespace

std::string shown_place(const fs::path& place) {
  const fs::path here = fs::proximate(place);
  return here.empty() || *here.begin() == ".." ? fs::absolute(place).lexically_normal().string() : here.string();
}

std::string head_section(const Run& run) {
  std::string html = "<div class=\"numbers\">\n";
  if (!run.evaluations.empty()) {
    const Summary& after = run.evaluations.back().summary;
    const bool two = run.evaluations.size() > 1;
    const Estimates estimates = intervals(after);
    std::string note =
        "Precision@1, " + (after.sets.size() == 1 ? "of one set, " + escape_html(after.sets[0].name)
                                                  : "mean of " + readable(double(after.sets.size())) + " sets");
    for (const Estimate& e : estimates.groups)
      if (e.name == "overall") note += ", 95 % interval " + fixed(e.low, 1) + " to " + fixed(e.high, 1);
    if (two)
      html += number(fixed(run.evaluations[run.evaluations.size() - 2].summary.overall, 1) + " %",
                     "Overall, " + escape_html(run.evaluations[run.evaluations.size() - 2].title()),
                     "chance " + fixed(chance_summary(after).overall, 1) + " %");
    html += number(fixed(after.overall, 1) + " %", "Overall, " + escape_html(run.evaluations.back().title()), note);
  }
  if (run.training) {
    const TrainingRun& t = *run.training;
    const auto options = Json::parse(t.options);
    const bool lora = options.value("lora", false) || !options.value("adapter", std::string()).empty();
    html += number(readable(double(t.steps.size())), "steps",
                   "of " + readable(double(t.steps.back().pairs)) + " pairs, in " + duration(t.seconds()));
    if (t.parameters > 0)
      html += number(readable(double(t.parameters)), lora ? "parameters in the adapter" : "parameters",
                     "from " + escape_html(fs::path(options.value("model_name", "a model")).filename().string()));
  }
  html += "</div>\n<p class=\"note\">";
  if (run.training) html += "Training ended " + written(run.training->folder / "log.jsonl") + ". ";
  if (!run.evaluations.empty()) html += "Evaluated " + written(run.evaluations.back().folder / "summary.json") + ". ";
  return html + "This page was made " + when(std::time(nullptr)) + " on " + escape_html(processor_name()) + ", " +
         readable(threads()) + (threads() == 1 ? " thread" : " threads") + ".</p>\n";
}

std::string manifest_section(const Run& run, const std::string& version) {
  std::string html =
      "<section>\n<h2>How to do it again</h2>\n<p>Options not shown have the program's defaults. The "
      "hash of a model is SHA-256 over the files that determine its embeddings. The commands run in " +
      escape_html(fs::current_path().string()) + ".</p>\n";
  std::string commands, options;
  if (run.training) {
    const Json of_training = seen_from_here(Json::parse(run.training->options));
    commands += data_command(of_training);
    html += "<p>Training began with the model in " + escape_html(shown(of_training.value("model_name", "its folder"))) +
            ", which these commands do not create (it comes from <code>init</code> or a download).</p>\n";
    commands += command<TrainOptions>("train", of_training, "output_dir", run.training->folder) + "\n";
    options += details("Options of train", options_table(of_training));
  }
  std::string hashes = "<table class=\"options\">\n";
  for (const EvaluationRun& evaluation : run.evaluations) {
    const Json of_evaluation = Json::parse(evaluation.summary.options);
    commands += command<EvalOptions>("eval", of_evaluation, "encode_output_path", evaluation.folder) + "\n";
    options += details("Options of eval: " + evaluation.title(), options_table(of_evaluation));
    const std::string model = of_evaluation.value("model_name", ""), adapter = of_evaluation.value("adapter", "");
    hashes += "<tr><th scope=\"row\">" + escape_html(shown(model) + (adapter.empty() ? "" : " + " + shown(adapter))) +
              "</th><td>" +
              (evaluation.summary.model_sha256.empty() ? "not recorded" : evaluation.summary.model_sha256) +
              "</td></tr>\n";
  }
  html += details("Commands", pre(commands));
  if (!run.evaluations.empty()) html += details("Models", hashes + "</table>\n");
  return html + options + details("Program", pre(version)) + "</section>\n";
}

}  // namespace vlm2vec
