// Charts of the training's progress and cost.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/progress.h"
#include "mmeb/data/data_folder.h"
#include "show/chart.h"
#include "show/html.h"
#include "show/sections.h"
#include "tensor/host_memory.h"

namespace vlm2vec {
namespace {

std::string chart_figure(const Chart& chart, const std::string& caption) {
  return "<figure>\n<h3>" + escape_html(chart.title) + "</h3>\n" + svg(chart) + "<figcaption>" + caption +
         "</figcaption></figure>\n";
}

size_t window_of(const TrainingRun& training) { return std::max<size_t>(1, training.steps.size() / 50) | 1; }

ChartSeries smoothed_field(const TrainingRun& training, double StepLog::*field, const char* name, const char* style) {
  return smoothed(name, style, training.numbers(), training.series(field), window_of(training));
}

// Draws one bar of several parts, with a legend.
std::string stacked_bar(const std::vector<std::pair<std::string, double>>& parts) {
  double sum = 0, x = 0;
  for (const auto& [name, value] : parts) sum += value;
  std::string bar, legend;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& [name, value] = parts[i];
    const double width = 100 * value / sum;
    bar += sentence("<rect class=\"part", i, "\" x=\"", fixed(x, 2), "\" width=\"", fixed(width, 2),
                    "\" height=\"10\"><title>", escape_html(name), "</title></rect>");
    legend +=
        sentence("<li><svg width=\"10\" height=\"10\"><rect class=\"part", i, "\" width=\"10\" height=\"10\"/></svg> ",
                 escape_html(name), " <b>", percent(value / sum), "</b></li>");
    x += width;
  }
  return "<svg class=\"stacked\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" "
         "aria-label=\"shares\">" +
         bar + "</svg>\n<ul class=\"legend\">" + legend + "</ul>\n";
}

// What this run's schedule does.
std::string rate_caption(const std::vector<double>& rates) {
  const double highest = *std::max_element(rates.begin(), rates.end());
  return std::string(rates.front() < highest
                         ? " It rises at the beginning, because the first gradients are large and unreliable."
                         : "") +
         (rates.back() < highest ? " It falls to reduce noise at the end." : "");
}

}  // namespace

std::string curves_section(const TrainingRun& training) {
  const double pairs = double(training.steps.back().pairs);
  const auto options = nlohmann::json::parse(training.options);
  const double batches = options.value("gradient_accumulation_steps", 1.0), n = pairs / batches;
  const std::string n_text = readable(n);
  const double clip = options.value("max_grad_norm", 0.0);
  const size_t window = window_of(training);

  std::string html = "<section>\n<h2>How the training went</h2>\n<p>Lines are means of the " +
                     readable(double(window)) +
                     " steps around each point; the pale band behind a line spans the lowest and the highest "
                     "single step. Point at a chart to read its values.</p>\n<div class=\"charts\">\n";
  html += chart_figure(
      {.title = "Loss",
       .x_name = "step",
       .series = {smoothed_field(training, &StepLog::loss, "loss", "blue")},
       .levels = {{"ln " + n_text + " = " + readable(std::log(n)), std::log(n)}},
       .from_zero = false},
      "InfoNCE of a batch: the mean negative logarithm of the probability of each query's own target among the " +
          n_text + " targets of the batch. Guessing gives each target 1/" + n_text + ", a loss of ln " + n_text +
          " (dashed). A higher loss is confidently wrong, as with random weights at a low temperature.");
  html += chart_figure({.title = "In-batch accuracy and false negatives",
                        .x_name = "step",
                        .series = {smoothed_field(training, &StepLog::in_batch_accuracy, "accuracy, %", "blue"),
                                   smoothed_field(training, &StepLog::duplicates, "false negatives, %", "orange")},
                        .levels = {{"chance", 1 / n}},
                        .factor = 100},
                       "The share of queries whose best target in the batch is right, and the share whose own target "
                       "is also another query's target. The copy counts as a wrong answer although it is right: this "
                       "false negative raises the loss and pushes equal things apart. <code>--mask_duplicates</code> "
                       "leaves copies out.");
  html += chart_figure(
      {.title = "Learning rate",
       .x_name = "step",
       .series = {{"learning rate", "blue", training.numbers(), training.series(&StepLog::learning_rate)}}},
      "The size of a step." + rate_caption(training.series(&StepLog::learning_rate)));
  Chart norm{.title = "Gradient norm",
             .x_name = "step",
             .series = {smoothed_field(training, &StepLog::grad_norm, "norm", "blue")},
             .from_zero = false};
  if (clip > 0) norm.levels = {{"clipped above " + readable(clip), clip}};
  html +=
      chart_figure(norm,
                   "The length of the gradient before clipping. A gradient above the dashed line is shortened to the "
                   "line and keeps its direction.");
  return html + "</div>\n</section>\n";
}

std::string cost_section(const TrainingRun& training) {
  double pairs = 0, data = 0, embed = 0, loss = 0, backward = 0, optimiser = 0;
  int64_t peak = 0;
  std::vector<double> memory;
  for (const StepLog& s : training.steps) {
    pairs += double(s.pairs), peak = std::max(peak, s.peak_bytes), memory.push_back(double(s.peak_bytes) / 1e6);
    data += s.data_seconds, embed += s.embed_seconds, loss += s.loss_seconds;
    backward += s.backward_seconds, optimiser += s.optimiser_seconds;
  }
  const double seconds = training.seconds(), other = seconds - data - embed - loss - backward - optimiser;
  std::string html =
      sentence("<section>\n<h2>Where time and memory went</h2>\n<p>", readable(double(training.steps.size())),
               " steps took ", duration(seconds), ": ", readable(pairs / seconds),
               " pairs a second. A pair is a query and its target. Tensors held at most ", in_bytes(peak),
               " at one time.</p>\n");
  if (embed > 0) {
    html += "<figure>\n" +
            stacked_bar({{"waiting for rows and pictures", data},
                         {"forward", embed},
                         {"loss and its gradient", loss},
                         {"backward", backward},
                         {"clipping and AdamW", optimiser},
                         {"rest", std::max(0.0, other)}}) +
            "<figcaption>The time of all steps. If a batch has several GradCache chunks, backward embeds every chunk a "
            "second time: the price of a batch larger than memory.</figcaption></figure>\n";
  } else {
    html += "<p class=\"note\">The log does not split the time into embedding, loss and backward.</p>\n";
  }
  const auto mega = smoothed("MB", "blue", training.numbers(), memory, 1);
  const auto time = smoothed_field(training, &StepLog::seconds, "seconds", "blue");
  return html + "<div class=\"charts\">\n" +
         chart_figure({.title = "Seconds per step", .x_name = "step", .series = {time}},
                      "Steps differ in the pictures and the lengths of texts in their batch.") +
         chart_figure({.title = "Memory per step", .x_name = "step", .series = {mega}},
                      "Peak bytes in tensors: weights, gradients, the optimiser's two moments, and the activations "
                      "kept for backward, which grow with the batch or its chunk.") +
         "</div>\n</section>\n";
}

}  // namespace vlm2vec
