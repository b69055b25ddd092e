#include "tensor/host_memory.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>

namespace vlm2vec {
namespace {

// The number in a file that holds only that; `otherwise` if there is none ("max").
int64_t number_in(const std::string& file, int64_t otherwise) {
  int64_t value = 0;
  return std::ifstream(file) >> value ? value : otherwise;
}

int64_t mem_available() {
  std::ifstream file("/proc/meminfo");
  for (std::string name, rest; file >> name; std::getline(file, rest)) {
    if (name != "MemAvailable:") continue;
    int64_t kibibytes = 0;
    file >> kibibytes;
    return kibibytes << 10;
  }
  return INT64_MAX;
}

}  // namespace

int64_t available_memory() {
  int64_t least = mem_available();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.starts_with("0::"))
      // Limits hold for all below: look at each folder on the way up.
      for (std::string path = line.substr(3); !path.empty(); path.resize(path.rfind('/'))) {
        const std::string folder = "/sys/fs/cgroup" + path + "/";
        const int64_t limit = number_in(folder + "memory.max", INT64_MAX);
        if (limit < INT64_MAX) least = std::min(least, limit - number_in(folder + "memory.current", 0));
      }
  return least;
}

std::string in_bytes(int64_t bytes) {
  constexpr std::array units = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = double(bytes);
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < units.size(); ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

}  // namespace vlm2vec
