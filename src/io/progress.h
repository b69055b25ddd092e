// Shows a person how far a command is: one line redrawn on a terminal, plain lines now and then on a pipe. All of it
// goes to stderr.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace vlm2vec {

class Progress {
 public:
  // start: how many are done before a resumed run. every: plain lines come at its multiples, at most every ten seconds.
  Progress(std::string title, int64_t total, bool quiet, int64_t start = 0, int64_t every = 1);
  ~Progress();
  // done of total; `details` (loss, rates, …) stand behind the bar, the most important first.
  void update(int64_t done, const std::vector<std::string>& details);
  void update(int64_t done, const std::string& detail = "") { update(done, std::vector{detail}); }
  void note(const std::string& line);  // on a line of its own, unless it is empty
  double seconds() const;

 private:
  void draw(int64_t done, std::vector<std::string> details);
  std::string title_;
  int64_t total_, first_, every_;
  bool quiet_, terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_drawn_;
};

// Returns the line for a terminal of so many columns: title and count, a bar if there is room, details, `left` (the
// time). Details that do not fit are left out, the last first; the time stays.
std::string progress_line(const std::string& title, int64_t done, int64_t total, std::vector<std::string> details,
                          const std::string& left, size_t columns);

std::string duration(double seconds);  // "4 s", "3:05", "2:10:00"

}  // namespace vlm2vec
