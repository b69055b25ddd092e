// Finds a row's picture: in the row itself, in the folder --image_dir, or in a zip or tar file there, read in place.
// It looks first for <image_dir>/<path of the row>; image_dir itself may be an archive. Then it searches *.zip and
// *.tar in image_dir, image_dir/images_zip and image_dir/images. Archives named like a folder of the path come first
// (images_zip/OK-VQA.zip for images/OK-VQA/Train/x.jpg), then all in order of name. A member matches by the row's path,
// with or without its leading images/ (as in the hub's zips), perhaps below the archive's only top folder.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "vlm/image/picture_source.h"

namespace vlm2vec {

class Pictures {
 public:
  Pictures() : Pictures(std::filesystem::path()) {}
  Pictures(const std::filesystem::path& image_dir);  // copies share their index of archives

  // Returns a file, a member of an archive, or a picture of keep(). Any thread may call it; archives are opened when
  // first needed. Throws Exit::data if an archive cannot be read.
  std::optional<PictureSource> find(const std::string& path) const;
  // Does the same, but returns the expected path if find() finds nothing.
  PictureSource locate(const std::string& path) const;
  // Keeps a picture embedded in a row and returns its name for find(): "sha256:…". Equal pictures have one name.
  std::string keep(const PictureSource& held) const;
  // Says why find() finds nothing, and the cure.
  std::string likely_cause(const std::string& path) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Checks that the pictures of rows exist; looks for each path once.
class PictureCheck {
 public:
  explicit PictureCheck(const Pictures& pictures) : pictures_(pictures) {}
  // Looks for a picture of row `row` (from 0); "" is not a picture. Returns true if it exists and is new.
  bool add(const std::string& path, size_t row, const std::string& set);

  int64_t distinct() const { return int64_t(seen_.size()); }
  int64_t missing() const { return missing_; }
  std::string summary() const;  // how many are missing, the first five, the likely cause; in one line
  void require_all() const;     // throws Exit::data with the summary if a picture is missing

 private:
  Pictures pictures_;
  std::unordered_set<size_t> seen_;  // hashes: a collision among a million paths has a probability of 3e-8
  int64_t missing_ = 0;
  std::string first_;
  std::vector<std::string> next_;  // up to four missing paths, with row and set
  std::string where_;              // row and set of the first
};

}  // namespace vlm2vec
