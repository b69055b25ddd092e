#include "io/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
namespace fs = std::filesystem;

FolderLock::FolderLock(const fs::path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail(Exit::resources, folder.string(), ": cannot be opened (", std::strerror(errno), ")");
  // File systems without locks (some network ones) do without.
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  fail(Exit::usage, folder.string(), ": another process is writing into this folder; wait for it, or choose another");
}

FolderLock::~FolderLock() { ::close(descriptor_); }

void remove_leftovers(const fs::path& folder, const std::string& name) {
  const std::string mark = kTemporaryMark;
  std::vector<fs::path> leftovers, replaced;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable)) {
    const std::string file = entry.path().filename().string();
    if (name.empty() && file.ends_with(kReplacedMark)) replaced.push_back(entry.path());
    const size_t at = file.find(mark);
    if (at == std::string::npos || (!name.empty() && file.substr(0, at) != name)) continue;
    const int process = std::atoi(file.c_str() + at + mark.size());
    const bool lives = process > 0 && process != getpid() && (kill(process, 0) == 0 || errno == EPERM);
    if (!name.empty() && lives) continue;
    leftovers.push_back(entry.path());
  }
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover);
  for (const fs::path& old : replaced) {
    const std::string name = old.string();
    const fs::path folder = name.substr(0, name.size() - std::strlen(kReplacedMark));
    if (fs::exists(folder)) fs::remove_all(old);
    else fs::rename(old, folder);
  }
}

}  // namespace vlm2vec
