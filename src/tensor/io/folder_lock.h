// One process at a time writes into a folder: a lock on the folder itself (flock), which ends with the process, however
// that ends.
#pragma once
#include <filesystem>

namespace vlm2vec {

class FolderLock {
 public:
  // Exit::usage if another process has it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;

 private:
  int descriptor_;
};

// Removes what writes into the folder that were killed have left (write_atomically, write_folder_atomically).
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace vlm2vec
