#include "vlm/image/image_cache.h"

#include "io/error.h"

namespace vlm2vec {

std::shared_ptr<const Image> ImageCache::get(const PictureSource& source, const PictureRule& rule) {
  const std::string key = rule.key() + "\n" + source.by_content().key();
  {
    std::lock_guard guard(lock_);
    if (const auto found = images_.find(key); found != images_.end()) return found->second;
  }
  Picture picture = read_picture(source);
  const std::string flaw = std::move(picture.flaw);
  const bool rotated = picture.orientation != 1 && !rule.exif;
  std::shared_ptr<const Image> image;
  try {
    image = std::make_shared<const Image>(rule.apply(std::move(picture)));
  } catch (const Error& error) {
    fail(error.code, source.name(), ": ", error.what());
  }
  std::lock_guard guard(lock_);
  if (!flaw.empty()) flaws_.emplace(source.name(), flaw);
  if (rotated) rotated_.insert(source.name());
  if (!images_.emplace(key, image).second) return image;
  order_.push_back(key);
  bytes_ += int64_t(image->pixels.size());
  while (bytes_ > limit_ && order_.size() > 1) {
    const auto oldest = images_.find(order_.front());
    bytes_ -= int64_t(oldest->second->pixels.size());
    images_.erase(oldest);
    order_.pop_front();
  }
  return image;
}

int64_t ImageCache::bytes() const {
  std::lock_guard guard(lock_);
  return bytes_;
}

std::string ImageCache::note() const {
  std::lock_guard guard(lock_);
  std::string lines;
  const auto add = [&](size_t count, const char* one, const char* many, const std::string& which) {
    if (count == 0) return;
    const std::string what = count == 1 ? one + which : sentence(count, many, "; the first by name: ", which);
    lines += (lines.empty() ? "" : "\n") + what;
  };
  const auto flaw = flaws_.begin();
  add(flaws_.size(), "1 picture was read in spite of a flaw: ", " pictures were read in spite of flaws",
      flaws_.empty() ? "" : flaw->first + ": " + flaw->second);
  add(rotated_.size(),
      "1 picture is stored rotated; --exif True turns it upright: ",
      " pictures are stored rotated; --exif True turns them upright",
      rotated_.empty() ? "" : *rotated_.begin());
  return lines;
}

}  // namespace vlm2vec
