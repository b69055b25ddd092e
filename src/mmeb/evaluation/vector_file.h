// Vectors on disk, found by a key. The file is a list of records of equal length:
//   [key 32 bytes | vector f32 x dim | CRC-32 of both, 4 bytes]
// Whole records are added under a lock (flock), so several processes may share a file. A partial record of a killed
// process is removed; a damaged record is overwritten with zeros. Neither is ever returned.
#pragma once
#include <filesystem>
#include <map>
#include <span>

#include "io/sha256.h"

namespace vlm2vec {

class VectorFile {
 public:
  VectorFile(const std::filesystem::path& path, int64_t dim);  // creates the file if absent
  ~VectorFile();
  VectorFile(const VectorFile&) = delete;
  bool contains(const Digest& key) const { return places_.contains(key); }
  bool find(const Digest& key, float* vector) const;             // false if missing
  void add(std::span<const Digest> keys, const float* vectors);  // [keys, dim]; Exit::resources if the disk is full
  int64_t damaged() const { return damaged_; }                   // records dropped on opening

 private:
  void open_records();
  std::filesystem::path path_;
  int64_t dim_, record_, damaged_ = 0;
  int fd_ = -1;
  std::map<Digest, int64_t> places_;  // offset of each key's record
};

}  // namespace vlm2vec
