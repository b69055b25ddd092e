// Line charts as inline SVG: axes with round ticks, lines, bands, dashed levels, a legend; a tooltip for each of some
// steps. Colours come from the page's style sheet: a series has a class.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

struct ChartSeries {
  std::string name, style;          // style: CSS class of line, band and legend
  std::vector<double> x, y;         // of the line
  std::vector<double> band_x = {};  // of a pale band, from low to high; may be empty
  std::vector<double> low = {}, high = {};
};
struct ChartLevel {
  std::string name;
  double y;
};
struct Chart {
  std::string title, x_name;
  std::vector<ChartSeries> series;
  std::vector<ChartLevel> levels = {};  // dashed, from left to right
  bool from_zero = true;                // else logarithmic, where all y are positive
  double factor = 1;                    // shown numbers are y times this: 100 for percent
};

// Round numbers from low to high: of linear axes 1, 2 or 5 times a power of ten apart, of logarithmic ones 1, 2 and 5
// of each decade, or powers of ten where these would be more than seven.
std::vector<double> linear_ticks(double low, double high);
std::vector<double> logarithmic_ticks(double low, double high);

// Places values of an interval on a stretch of pixels.
struct ChartScale {
  double low, high, from, to;
  bool logarithmic = false;
  double operator()(double value) const;
};

std::string svg(const Chart& chart);

// A number for people: "0.35", "1,200", "3e-05".
std::string readable(double value);

// What a chart shows of many steps: the mean of the `window` steps around each of at most `points`, and of each stretch
// between them the lowest and highest value.
ChartSeries smoothed(const std::string& name, const std::string& style, const std::vector<double>& x,
                     const std::vector<double>& y, size_t window, size_t points = 200);

}  // namespace vlm2vec
