// How the training went, step by step, and what it cost.
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

// One bar of several parts, with a legend.
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
                     " steps around each point; the pale band behind a line reaches from the lowest to the highest "
                     "single step. Point at a chart to read its values.</p>\n<div class=\"charts\">\n";
  html += chart_figure(
      {.title = "Loss",
       .x_name = "step",
       .series = {smoothed_field(training, &StepLog::loss, "loss", "blue")},
       .levels = {{"ln " + n_text + " = " + readable(std::log(n)), std::log(n)}},
       .from_zero = false},
      "InfoNCE of a batch: the negative logarithm of the probability that the model gives each query's own target "
      "among "
      "the " +
          n_text + " of the batch. A model that cannot tell them apart gives each 1/" + n_text + ", a loss of ln " +
          n_text + " (dashed); a loss above it is confidently wrong, as random weights at a low temperature are.");
  html +=
      chart_figure({.title = "In-batch accuracy and false negatives",
                    .x_name = "step",
                    .series = {smoothed_field(training, &StepLog::in_batch_accuracy, "accuracy, %", "blue"),
                               smoothed_field(training, &StepLog::duplicates, "false negatives, %", "orange")},
                    .levels = {{"chance", 1 / n}},
                    .factor = 100},
                   "The share of queries whose best target in the batch is right, and the share whose own target "
                   "stands in the batch "
                   "a second time, as another query's. Such a copy counts as a wrong answer although it is right, a "
                   "false negative: it "
                   "holds the loss up and pulls equal things apart. <code>--mask_duplicates</code> leaves copies out.");
  html += chart_figure(
      {.title = "Learning rate",
       .x_name = "step",
       .series = {{"learning rate", "blue", training.numbers(), training.series(&StepLog::learning_rate)}}},
      "How far a step may go. It rises from nothing, so that the first gradients, which are large and "
      "of little worth, do no harm, and falls so that the end is not lost in noise.");
  Chart norm{.title = "Gradient norm",
             .x_name = "step",
             .series = {smoothed_field(training, &StepLog::grad_norm, "norm", "blue")},
             .from_zero = false};
  if (clip > 0) norm.levels = {{"clipped above " + readable(clip), clip}};
  html +=
      chart_figure(norm,
                   "The length of the gradient before clipping. What is longer than the dashed line is shortened to "
                   "it: the direction stays, the step is bounded.");
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
               " pairs a second, of which each has a query and a target. The most that tensors held at one "
               "time was ",
               in_bytes(peak), ".</p>\n");
  if (embed > 0) {
    html += "<figure>\n" +
            stacked_bar({{"drawing rows", data},
                         {"pictures and forward", embed},
                         {"loss and its gradient", loss},
                         {"backward", backward},
                         {"clipping and AdamW", optimiser},
                         {"rest", std::max(0.0, other)}}) +
            "<figcaption>The time of all steps. In a batch of several GradCache chunks, backward embeds every chunk a "
            "second "
            "time: that is the price for a batch larger than memory.</figcaption></figure>\n";
  } else {
    html += "<p class=\"note\">The log does not say how the time divides into embedding, loss and backward.</p>\n";
  }
  const auto mega = smoothed("MB", "blue", training.numbers(), memory, 1);
  const auto time = smoothed_field(training, &StepLog::seconds, "seconds", "blue");
  return html + "<div class=\"charts\">\n" +
         chart_figure({.title = "Seconds a step", .x_name = "step", .series = {time}},
                      "Steps differ by the pictures and the lengths of the texts in their batch.") +
         chart_figure({.title = "Memory of a step", .x_name = "step", .series = {mega}},
                      "The most bytes in tensors during the step: weights, gradients, the optimiser's two moments, and "
                      "what forward keeps for backward, which grows with the batch or its chunk.") +
         "</div>\n</section>\n";
}

}  // namespace vlm2vec
