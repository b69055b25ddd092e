// Vectors on the disk, found by a key: a list of records of equal length
//   [key 32 bytes | vector f32 x dim | CRC-32 of both, 4 bytes]
// to which whole records are added under a lock (flock), so that several processes may share a file. A record cut off
// by a killed process is cut away, a damaged one is overwritten with zeros; neither is ever served.
#pragma once
#include <filesystem>
#include <map>
#include <span>

#include "io/sha256.h"

namespace vlm2vec {

class VectorFile {
 public:
  VectorFile(const std::filesystem::path& path, int64_t dim);  // made if absent
  ~VectorFile();
  VectorFile(const VectorFile&) = delete;
  bool contains(const Digest& key) const { return places_.contains(key); }
  bool find(const Digest& key, float* vector) const;             // false: not here
  void add(std::span<const Digest> keys, const float* vectors);  // [keys, dim]; Exit::resources if the disk is full
  int64_t damaged() const { return damaged_; }                   // records that were dropped when it was opened

 private:
  void open_records();
  std::filesystem::path path_;
  int64_t dim_, record_, damaged_ = 0;
  int fd_ = -1;
  std::map<Digest, int64_t> places_;  // offset of each key's record
};

}  // namespace vlm2vec
