// Where a row's picture lies: in the row itself, in the folder that --image_dir names, or in a zip or tar file there,
// read in place.
// Looked for as <image_dir>/<path of the row> first; else image_dir itself may be an archive; else *.zip and *.tar in
// image_dir, image_dir/images_zip and image_dir/images are searched, those first whose name is a folder of the path
// (images_zip/OK-VQA.zip for images/OK-VQA/Train/x.jpg), then by name. A member matches by the row's path, by it
// without its leading images/ (as the hub's zips are packed), or by either behind the archive's one top folder.
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
  Pictures(const std::filesystem::path& image_dir);  // copies share what they have found out

  // A file, a member of an archive, or what keep() has kept. From any thread; an archive is opened when first needed.
  // Errors (Exit::data): an archive that cannot be read.
  std::optional<PictureSource> find(const std::string& path) const;
  // The same; where it should have been if it is nowhere.
  PictureSource locate(const std::string& path) const;
  // A picture that the row holds itself; find() knows it by the name that this returns, equal pictures by one:
  // "sha256:…".
  std::string keep(const PictureSource& held) const;
  // Why find() found nothing, and what to do.
  std::string likely_cause(const std::string& path) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Are the pictures of some rows there? Each path is looked for once.
class PictureCheck {
 public:
  explicit PictureCheck(const Pictures& pictures) : pictures_(pictures) {}
  // Looks for a picture of row `row` (from 0); "" is not a picture. True if it is there and not seen before.
  bool add(const std::string& path, size_t row, const std::string& set);

  int64_t distinct() const { return int64_t(seen_.size()); }
  int64_t missing() const { return missing_; }
  std::string summary() const;  // how many are missing, the first five, the likely cause; in one line
  void require_all() const;     // Exit::data with the summary if one is missing

 private:
  Pictures pictures_;
  std::unordered_set<size_t> seen_;  // hashes: two of a million paths share one with a probability of 3e-8
  int64_t missing_ = 0;
  std::string first_;
  std::vector<std::string> next_;  // up to four, with row and set
  std::string where_;              // of the first
};

}  // namespace vlm2vec
