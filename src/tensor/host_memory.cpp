#include "tensor/host_memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include "io/text.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// Returns the only number in a file; `otherwise` if the file holds no number ("max").
int64_t number_in(const fs::path& file, int64_t otherwise) {
  int64_t value = 0;
  return std::ifstream(file) >> value ? value : otherwise;
}

// Reads lines of a name and a number.
std::map<std::string, int64_t> numbers_in(const fs::path& file) {
  std::map<std::string, int64_t> numbers;
  std::ifstream stream(file);
  int64_t value = 0;
  for (std::string name, rest; stream >> name >> value; std::getline(stream, rest)) numbers[name] = value;
  return numbers;
}

// Applies the limits of a control group and of all its parents.
void limit_by_groups(const fs::path& mount, std::string group, HostMemory& memory) {
  for (;; group.resize(group.rfind('/'))) {
    if (group == "/") group.clear();
    const fs::path folder = mount.string() + group;
    const int64_t limit = number_in(folder / "memory.max", INT64_MAX);
    if (limit < INT64_MAX) {
      auto kept = numbers_in(folder / "memory.stat");
      const int64_t used = number_in(folder / "memory.current", 0) - kept["active_file"] - kept["inactive_file"];
      memory.total = std::min(memory.total, limit);
      memory.available = std::min(memory.available, limit - std::max<int64_t>(0, used));
    }
    if (group.empty()) return;
  }
}

}  // namespace

HostMemory host_memory(const fs::path& root) {
  auto machine = numbers_in(root / "proc/meminfo");  // in units of 1024 bytes
  if (!machine.contains("MemAvailable:")) return {INT64_MAX, INT64_MAX};
  HostMemory memory = {(machine["MemTotal:"] + machine["SwapTotal:"]) << 10,
                       (machine["MemAvailable:"] + machine["SwapFree:"]) << 10};
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.starts_with("0::/")) limit_by_groups(root / "sys/fs/cgroup", line.substr(3), memory);
  return memory;
}

int64_t most_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) << 10;  // in units of 1024 bytes
}

std::string in_bytes(int64_t bytes) {
  constexpr std::array units = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = double(bytes);
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < units.size(); ++unit) value /= 1000;
  return formatted(unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

}  // namespace vlm2vec
