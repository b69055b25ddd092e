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

inline constexpr int64_t kImageCacheBytes = int64_t(512) << 20;  // the limit of an encoder

class ImageCache {
 public:
  explicit ImageCache(int64_t limit_bytes) : limit_(limit_bytes) {}
  // Returns the picture by this rule; decodes it unless its bytes are known. Safe to call from several threads.
  std::shared_ptr<const Image> get(const PictureSource& source, const PictureRule& rule);
  int64_t bytes() const;  // size of the cached pictures
  // Returns a line about pictures with a flaw, and one about pictures stored rotated and not turned; empty: none.
  std::string note() const;

 private:
  mutable std::mutex lock_;
  std::unordered_map<std::string, std::shared_ptr<const Image>> images_;  // by PictureRule::key and hash of the bytes
  std::deque<std::string> order_;
  std::map<std::string, std::string> flaws_;  // by the picture's name
  std::set<std::string> rotated_;
  int64_t limit_, bytes_ = 0;
};

}  // namespace vlm2vec
