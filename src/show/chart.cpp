#include "show/chart.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"
#include "io/text.h"
#include "show/html.h"

namespace vlm2vec {
namespace {

// Sizes in the viewBox, which the page scales to its column.
constexpr double kWidth = 480, kHeight = 250, kLeft = 48, kRight = 468, kTop = 34, kBottom = 212;
constexpr size_t kTooltips = 60;

std::string place(double pixels) { return formatted("%.1f", pixels); }

std::string points(const std::vector<double>& x, const std::vector<double>& y, const ChartScale& to_x,
                   const ChartScale& to_y) {
  std::string list;
  for (size_t i = 0; i < x.size(); ++i) list += place(to_x(x[i])) + "," + place(to_y(y[i])) + " ";
  return list;
}

std::string text(double x, double y, const char* anchor, const std::string& words) {
  return sentence("<text x=\"", place(x), "\" y=\"", place(y), "\" text-anchor=\"", anchor, "\">", escape_html(words),
                  "</text>");
}

std::string line(const char* style, double x1, double y1, double x2, double y2) {
  return sentence("<line class=\"", style, "\" x1=\"", place(x1), "\" y1=\"", place(y1), "\" x2=\"", place(x2),
                  "\" y2=\"", place(y2), "\"/>");
}

std::string legend(const Chart& chart) {
  std::string html;
  double x = kLeft;
  const auto entry = [&](const std::string& style, const std::string& name) {
    html += line(style.c_str(), x, 14, x + 16, 14) + text(x + 21, 18, "start", name);
    x += 36 + 6.6 * double(name.size());
  };
  for (const ChartSeries& series : chart.series) entry("line " + series.style, series.name);
  for (const ChartLevel& level : chart.levels) entry("level", level.name);
  return html;
}

// Covers the chart with invisible columns; the tooltip of each gives the values of the lines.
std::string tooltips(const Chart& chart, const ChartScale& to_x) {
  const std::vector<double>& x = chart.series[0].x;
  const size_t stride = std::max<size_t>(1, (x.size() + kTooltips - 1) / kTooltips);
  std::string html;
  for (size_t i = 0; i < x.size(); i += stride) {
    const double middle = to_x(x[i]), half = (kRight - kLeft) / double(x.size()) * double(stride) / 2;
    const double left = std::max(kLeft, middle - half), right = std::min(kRight, middle + half);
    html +=
        sentence("<rect class=\"hover\" x=\"", place(left), "\" y=\"", place(kTop), "\" width=\"", place(right - left),
                 "\" height=\"", place(kBottom - kTop), "\"><title>", escape_html(chart.x_name), " ", readable(x[i]));
    for (const ChartSeries& series : chart.series)
      if (i < series.y.size())
        html += sentence("\n", escape_html(series.name), " ", readable(series.y[i] * chart.factor));
    html += "</title></rect>";
  }
  return html;
}

}  // namespace

double ChartScale::operator()(double value) const {
  const auto f = [&](double v) { return logarithmic ? std::log10(v) : v; };
  return high > low ? from + (to - from) * (f(value) - f(low)) / (f(high) - f(low)) : (from + to) / 2;
}

std::vector<double> linear_ticks(double low, double high) {
  const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push_back(i * step + 0.0);
  return ticks;
}

std::vector<double> logarithmic_ticks(double low, double high) {
  std::vector<double> all, powers;
  for (double power = std::floor(std::log10(low)); power <= std::ceil(std::log10(high)); ++power)
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double tick = digit * std::pow(10, power);
      if (tick < low * (1 - 1e-9) || tick > high * (1 + 1e-9)) continue;
      all.push_back(tick);
      if (digit == 1) powers.push_back(tick);
    }
  return all.size() > 7 && powers.size() > 1 ? powers : all;
}

std::string readable(double value) {
  if (std::abs(value) < 1000) return formatted("%.3g", value);
  std::string digits = formatted("%.0f", value);
  for (int at = int(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) digits.insert(size_t(at), ",");
  return digits;
}

std::string svg(const Chart& chart) {
  double x_low = chart.series[0].x.front(), x_high = chart.series[0].x.back(), low = 1e300, high = -1e300;
  const auto meet = [&](const std::vector<double>& values) {
    for (const double v : values) low = std::min(low, v), high = std::max(high, v);
  };
  for (const ChartSeries& s : chart.series) meet(s.y), meet(s.low), meet(s.high);
  for (const ChartLevel& level : chart.levels) meet({level.y});
  const bool logarithmic = !chart.from_zero && low > 0;
  if (!logarithmic) low = std::min(0.0, low);
  if (high <= low) high = low + 1;
  const ChartScale to_x{x_low, x_high, kLeft, kRight}, to_y{low, high, kBottom, kTop, logarithmic};

  std::string html = sentence("<svg class=\"chart\" viewBox=\"0 0 ", kWidth, " ", kHeight,
                              "\" role=\"img\" aria-label=\"", escape_html(chart.title), "\">\n");
  for (const double tick :
       logarithmic ? logarithmic_ticks(low, high) : linear_ticks(low * chart.factor, high * chart.factor)) {
    const double y = to_y(logarithmic ? tick : tick / chart.factor);
    html += line("grid", kLeft, y, kRight, y) + text(kLeft - 6, y + 4, "end", readable(tick));
  }
  if (x_high > x_low)
    for (const double tick : linear_ticks(x_low, x_high))
      html += line("grid", to_x(tick), kBottom, to_x(tick), kBottom + 4) +
              text(to_x(tick), kBottom + 18, to_x(tick) > kRight - 12 ? "end" : "middle", readable(tick));
  html += text((kLeft + kRight) / 2, kHeight - 4, "middle", chart.x_name) + "\n";
  for (const ChartSeries& s : chart.series) {
    if (s.band_x.empty()) continue;
    std::vector<double> back_x(s.band_x.rbegin(), s.band_x.rend()), back(s.low.rbegin(), s.low.rend());
    html += "<polygon class=\"band " + s.style + "\" points=\"" + points(s.band_x, s.high, to_x, to_y) +
            points(back_x, back, to_x, to_y) + "\"/>\n";
  }
  for (const ChartSeries& s : chart.series)
    html += "<polyline class=\"line " + s.style + "\" points=\"" + points(s.x, s.y, to_x, to_y) + "\"/>\n";
  for (const ChartLevel& level : chart.levels) html += line("level", kLeft, to_y(level.y), kRight, to_y(level.y));
  return html + legend(chart) + "\n" + tooltips(chart, to_x) + "</svg>\n";
}

ChartSeries smoothed(const std::string& name, const std::string& style, const std::vector<double>& x,
                     const std::vector<double>& y, size_t window, size_t points) {
  ChartSeries series{name, style, {}, {}};
  const size_t n = x.size(), stride = std::max<size_t>(1, (n + points - 1) / points), half = window / 2;
  for (size_t first = 0; first < n; first += stride) {
    const size_t end = std::min(n, first + stride), middle = end == n ? n - 1 : (first + end - 1) / 2;
    const size_t from = middle > half ? middle - half : 0, to = std::min(n, middle + half + 1);
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += y[i];
    series.x.push_back(x[middle]), series.y.push_back(sum / double(to - from));
    const auto [least, most] = std::minmax_element(y.begin() + long(first), y.begin() + long(end));
    series.band_x.push_back(x[middle]), series.low.push_back(*least), series.high.push_back(*most);
  }
  return series;
}

}  // namespace vlm2vec
