// What a person sees while a command works: one line redrawn on a terminal, plain lines now and then on a pipe. All of
// it goes to stderr.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace vlm2vec {

class Progress {
 public:
  // start: how many are done already, when a run goes on. every: plain lines come only at its multiples, and at most
  // every ten seconds.
  Progress(std::string title, int64_t total, bool quiet, int64_t start = 0, int64_t every = 1);
  ~Progress();
  // done of total; `details` (loss, rates, …) stand behind the bar.
  void update(int64_t done, const std::string& details = "");
  void note(const std::string& line);  // on a line of its own, unless it is empty
  double seconds() const;

 private:
  void draw(int64_t done, const std::string& details);
  std::string title_;
  int64_t total_, first_, every_;
  bool quiet_, terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_drawn_;
};

std::string duration(double seconds);  // "4 s", "3:05", "2:10:00"

}  // namespace vlm2vec
