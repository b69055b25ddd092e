// Line charts as inline SVG: axes with round ticks, lines, bands, dashed levels, a legend, tooltips. The page's style
// sheet colours a series by its class.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

struct ChartSeries {
  std::string name, style;          // style: CSS class of line, band and legend
  std::vector<double> x, y;         // the line
  std::vector<double> band_x = {};  // a pale band from low to high; may be empty
  std::vector<double> low = {}, high = {};
};
struct ChartLevel {
  std::string name;
  double y;
};
struct Chart {
  std::string title, x_name;
  std::vector<ChartSeries> series;
  std::vector<ChartLevel> levels = {};  // dashed horizontal lines
  bool from_zero = true;                // false: logarithmic if all y are positive
  double factor = 1;                    // multiplies the displayed y: 100 for percent
};

// Return round numbers from low to high. Linear ticks are 1, 2 or 5 times a power of ten apart; logarithmic ticks are
// 1, 2 and 5 of each decade, or powers of ten if there would be more than seven.
std::vector<double> linear_ticks(double low, double high);
std::vector<double> logarithmic_ticks(double low, double high);

// Maps values of an interval to pixels.
struct ChartScale {
  double low, high, from, to;
  bool logarithmic = false;
  double operator()(double value) const;
};

std::string svg(const Chart& chart);

// Formats a number for display: "0.35", "1,200", "3e-05".
std::string readable(double value);

// Reduces many steps to at most `points` points: each is the mean of the `window` steps around it. The band spans the
// lowest and highest value near each point.
ChartSeries smoothed(const std::string& name, const std::string& style, const std::vector<double>& x,
                     const std::vector<double>& y, size_t window, size_t points = 200);

}  // namespace vlm2vec
