// A folder of this process in the system's temporary folder, deleted with all its files at the end of its scope.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <string>

namespace vlm2vec {

struct ScratchFolder {
  explicit ScratchFolder(const std::string& purpose)
      : path(std::filesystem::temp_directory_path() / ("vlm2vec-" + purpose + "-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  const std::filesystem::path path;
};

}  // namespace vlm2vec
