// A lock on a folder (flock): one process at a time writes into it. The lock ends with the process, however that ends.
#pragma once
#include <filesystem>
#include <string>

namespace vlm2vec {

class FolderLock {
 public:
  // Throws Exit::usage if another process has the lock.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;

 private:
  int descriptor_;
};

// Removes files that killed processes left in the folder (write_atomically, write_folder_atomically, remove_folder).
// With `name`: those that were to become `name`, unless their process lives. Without: all of them, and the folder must
// be locked; a folder that was being replaced gets its name back if nothing has it.
void remove_leftovers(const std::filesystem::path& folder, const std::string& name = "");

}  // namespace vlm2vec
