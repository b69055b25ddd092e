// Members of zip and tar files, read where they lie: nothing is unpacked. A path that goes on behind an archive's name,
// images_zip/OK-VQA.zip/OK-VQA/Train/x.jpg, names a member.
//   zip  libzip with its compressions; zip64. Among equal names the last one in the directory counts, as with
//        `unzip -o`.
//   tar  plain: ustar, pax (path, size, linkpath), GNU long names, hard links. Only its headers are touched.
// Names of binary values in Parquet files work the same way (parquet/parquet.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/files.h"

struct zip;

namespace vlm2vec {

// Where a member's bytes begin, and how many there are; in a zip `at` is the member's number.
struct ArchiveMember {
  uint64_t at = 0, size = 0;
};
using ArchiveIndex = std::unordered_map<std::string, ArchiveMember>;

// True for files that macOS adds when it packs: ._name, and all of __MACOSX/. They are never pictures.
bool is_junk(const std::string& path);

class ArchiveFile {
 public:
  // Reads the directory. Throws Exit::data: damaged, incomplete, or compressed as a whole (.tar.gz).
  explicit ArchiveFile(const std::filesystem::path& path);
  // Returns the same, kept open for the next call unless the file has changed since.
  static std::shared_ptr<const ArchiveFile> open(const std::filesystem::path& path);

  bool contains(const std::string& member) const { return index_.contains(member); }
  size_t members() const { return index_.size(); }
  const std::string& top() const { return top_; }  // the one folder in which all members lie; empty: there is none
  // Safe from any thread. Throws Exit::data if the member is missing, encrypted, damaged, a git-lfs pointer or
  // compressed in a way that libzip lacks. A claim of more than `most` bytes is refused before memory is taken.
  FileBytes read(const std::string& member, uint64_t most) const;

 private:
  struct CloseZip {
    void operator()(zip* archive) const;
  };
  void open_zip();
  FileBytes read_member(const std::string& member, uint64_t most) const;
  FileBytes read_zip(const std::string& member, uint64_t number, uint64_t most) const;

  std::string file_, top_;
  uint64_t file_size_ = 0;
  ArchiveIndex index_;
  std::shared_ptr<const MappedFile> mapped_;  // a tar's bytes
  std::unique_ptr<zip, CloseZip> zip_;
  mutable std::mutex lock_;  // guards zip_, which one thread uses at a time
};

// Compressions of whole files, and archives whose members cannot be read alone.
struct Packing {
  const char *name, *tool;  // "gzip", and what undoes it, "gunzip"; tool: null for archives
};
const Packing* packing_of(std::string_view bytes);  // by the first bytes of a file; null: neither

// Returns the cure for a file that is compressed as a whole or another kind of archive, by its first bytes; else empty:
// "is compressed as a whole (xz): unxz it to a .tar file, or unpack it".
std::string how_to_unpack(const std::filesystem::path& file);

// True for a file, a member of an archive on the path, or a value of a Parquet file.
bool is_file_or_member(const std::filesystem::path& path);
// Returns its bytes. A member may have at most `most`. Throws Exit::data.
FileBytes read_file_or_member(const std::filesystem::path& path, uint64_t most);

}  // namespace vlm2vec
