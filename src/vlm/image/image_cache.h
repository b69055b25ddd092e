// Pictures as the model sees them (RGB, resized), kept as bytes up to a limit; the oldest go first.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

inline constexpr int64_t kImageCacheBytes = int64_t(512) << 20;  // that an encoder keeps, at most

class ImageCache {
 public:
  explicit ImageCache(int64_t limit_bytes) : limit_(limit_bytes) {}
  // Reads and resizes the picture unless it is here already, by this rule. Safe to call from several threads.
  std::shared_ptr<const Image> get(const PictureSource& source, const PictureRule& rule);
  int64_t bytes() const;  // of the pictures that are here
  // How many of the pictures so far had a flaw, and how many are stored rotated and were not turned, in a line each;
  // empty: none.
  std::string note() const;

 private:
  mutable std::mutex lock_;
  std::unordered_map<std::string, std::shared_ptr<const Image>> images_;  // by PictureSource::key and PictureRule::key
  std::deque<std::string> order_;
  std::map<std::string, std::string> flaws_;  // by the picture's name
  std::set<std::string> rotated_;
  int64_t limit_, bytes_ = 0;
};

}  // namespace vlm2vec
