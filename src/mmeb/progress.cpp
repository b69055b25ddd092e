#include "mmeb/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace vlm2vec {
namespace {

constexpr double kRedrawSeconds = 0.1, kLineSeconds = 10;

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

}  // namespace

Progress::Progress(std::string title, int64_t total, bool quiet, int64_t start, int64_t every)
    : title_(std::move(title)),
      total_(total),
      first_(start),
      every_(every),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO)),
      start_(std::chrono::steady_clock::now()),
      last_drawn_(terminal_ ? start_ - std::chrono::hours(1) : start_) {}

Progress::~Progress() {
  if (terminal_ && !quiet_ && drawn_) std::fputs("\n", stderr);
}

void Progress::note(const std::string& line) {
  if (quiet_ || line.empty()) return;
  if (terminal_ && drawn_) std::fputs("\n", stderr);
  drawn_ = false;
  std::fprintf(stderr, "%s\n", line.c_str());
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::update(int64_t done, const std::string& details) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_drawn_).count();
  if (done < total_ && since < (terminal_ ? kRedrawSeconds : kLineSeconds)) return;
  if (done < total_ && !terminal_ && done % every_ != 0) return;
  last_drawn_ = now;
  draw(done, details);
}

void Progress::draw(int64_t done, const std::string& details) {
  drawn_ = true;
  const double each = seconds() / double(std::max<int64_t>(1, done - first_));
  const std::string left = done >= total_  ? "in " + duration(seconds())
                           : done > first_ ? "ETA " + duration(double(total_ - done) * each)
                                           : "";
  std::string line = title_ + " " + std::to_string(done) + "/" + std::to_string(total_);
  if (!terminal_) {
    std::fprintf(stderr, "%s%s%s  %s\n", line.c_str(), details.empty() ? "" : "  ", details.c_str(), left.c_str());
    return;
  }
  const size_t width = size_t(std::max(1, terminal_width() - 1));
  const std::string tail = details + (details.empty() ? "" : "  ") + left;
  const int64_t cells = std::clamp<int64_t>(int64_t(width) - int64_t(line.size() + tail.size()) - 4, 0, 20);
  if (cells >= 5) {  // the numbers come first
    const int64_t filled = total_ > 0 ? cells * done / total_ : cells;
    line += " [" + std::string(size_t(filled), '#') + std::string(size_t(cells - filled), '.') + "]";
  }
  line += " " + tail;
  line.resize(width, ' ');
  std::fprintf(stderr, "\r%s", line.c_str());
  std::fflush(stderr);
}

std::string duration(double seconds) {
  char text[32];
  const long s = long(seconds + 0.5);
  if (s < 60) std::snprintf(text, sizeof text, "%ld s", s);
  else if (s < 3600) std::snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
  else std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  return text;
}

}  // namespace vlm2vec
