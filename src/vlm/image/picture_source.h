// Where a row's picture lies: in a file, in an archive (io/archive.h) or in the row. It is read when needed.
#pragma once
#include <filesystem>
#include <string>

#include "io/archive.h"

namespace vlm2vec {

class PictureSource {
 public:
  PictureSource(const std::filesystem::path& file) : name_(file.string()), key_(name_) {}  // or an archive's member
  PictureSource(const std::string& file) : name_(file), key_(file) {}
  PictureSource(const char* file) : name_(file), key_(file) {}
  // data:image/png;base64,… Throws Exit::data for another kind of data URI. Damaged base64 is an error of read(), as a
  // damaged file is.
  static PictureSource of_data_uri(const std::string& uri);
  static PictureSource of_base64(const std::string& text);
  static bool is_data_uri(const std::string& text);
  static PictureSource of_text(const std::string& text);  // a data URI or a file

  const std::string& name() const { return name_; }  // for people; of a file: its path
  // Equal for equal pictures that rows hold themselves ("sha256:…" of their bytes); of a file: its path.
  const std::string& key() const { return key_; }
  // Returns the same picture under the key of its bytes.
  PictureSource by_content() const;
  bool is_file() const { return !held_.owner; }
  FileBytes read() const;  // throws Exit::data
  bool operator==(const PictureSource& other) const { return key_ == other.key_; }
  auto operator<=>(const PictureSource& other) const { return key_ <=> other.key_; }

 private:
  std::string name_, key_, fault_;
  FileBytes held_;  // no owner: in the file `name_`
};

}  // namespace vlm2vec
