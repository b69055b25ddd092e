#include "io/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "io/text.h"

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

void Progress::update(int64_t done, const std::vector<std::string>& details) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_drawn_).count();
  if (done < total_ && since < (terminal_ ? kRedrawSeconds : kLineSeconds)) return;
  if (done < total_ && !terminal_ && done % every_ != 0) return;
  last_drawn_ = now;
  draw(done, details);
}

void Progress::draw(int64_t done, std::vector<std::string> details) {
  drawn_ = true;
  const double each = seconds() / double(std::max<int64_t>(1, done - first_));
  const std::string left = done >= total_  ? "in " + duration(seconds())
                           : done > first_ ? "ETA " + duration(double(total_ - done) * each)
                                           : "";
  std::erase(details, "");
  if (terminal_) {
    const size_t columns = size_t(std::max(1, terminal_width() - 1));
    std::fprintf(stderr, "\r%s", progress_line(title_, done, total_, std::move(details), left, columns).c_str());
    std::fflush(stderr);
    return;
  }
  std::string line = title_ + " " + std::to_string(done) + "/" + std::to_string(total_);
  for (const std::string& detail : details) line += "  " + detail;
  std::fprintf(stderr, "%s  %s\n", line.c_str(), left.c_str());
}

std::string progress_line(const std::string& title, int64_t done, int64_t total, std::vector<std::string> details,
                          const std::string& left, size_t columns) {
  std::string line = title + " " + std::to_string(done) + "/" + std::to_string(total);
  details.push_back(left);
  const auto joined = [&] {
    std::string text;
    for (const std::string& detail : details) text += (text.empty() ? "" : "  ") + detail;
    return text;
  };
  while (details.size() > 1 && line.size() + 1 + joined().size() > columns) details.erase(details.end() - 2);
  const std::string tail = joined();
  const int64_t room = int64_t(columns) - int64_t(line.size() + tail.size()) - 4,
                cells = std::clamp<int64_t>(room, 0, 20);
  if (cells >= 5) {  // the numbers come first
    const int64_t filled = total > 0 ? cells * done / total : cells;
    line += " [" + std::string(size_t(filled), '#') + std::string(size_t(cells - filled), '.') + "]";
  }
  line += " " + tail;
  line.resize(columns, ' ');
  return line;
}

std::string duration(double seconds) {
  const long s = long(seconds + 0.5);
  if (s < 60) return formatted("%ld s", s);
  if (s < 3600) return formatted("%ld:%02ld", s / 60, s % 60);
  return formatted("%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace vlm2vec
