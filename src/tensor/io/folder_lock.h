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

// Removes what killed writes have left in the folder (write_atomically, write_folder_atomically, remove_folder). A
// folder that was being replaced gets its name back if nothing has it.
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace vlm2vec
