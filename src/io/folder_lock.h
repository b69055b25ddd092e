// One process at a time writes into a folder: a lock on the folder itself (flock), which ends with the process, however
// that ends.
#pragma once
#include <filesystem>
#include <string>

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

// Removes what killed processes have left in the folder (write_atomically, write_folder_atomically, remove_folder): of
// a locked folder all of it; with `name` what was to become this, unless the process lives. In a locked folder, a
// folder that was being replaced gets its name back if nothing has it.
void remove_leftovers(const std::filesystem::path& folder, const std::string& name = "");

}  // namespace vlm2vec
