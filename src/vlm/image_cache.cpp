#include "vlm/image_cache.h"

#include "tensor/error.h"

namespace vlm2vec {

std::shared_ptr<const Image> ImageCache::get(const PictureSource& source, const ProcessorConfig& config) {
  const std::string& key = source.key();
  {
    std::lock_guard guard(lock_);
    if (const auto found = images_.find(key); found != images_.end()) return found->second;
  }
  Picture picture = read_picture(source);
  const std::string flaw = std::move(picture.flaw);
  const auto image = std::make_shared<const Image>(resize_for_model(std::move(picture), config));
  std::lock_guard guard(lock_);
  if (!flaw.empty()) flaws_.emplace(source.name(), flaw);
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

std::string ImageCache::flaws() const {
  std::lock_guard guard(lock_);
  if (flaws_.empty()) return "";
  const auto& [name, flaw] = *flaws_.begin();
  if (flaws_.size() == 1) return sentence("1 picture was read in spite of a flaw: ", name, ": ", flaw);
  return sentence(flaws_.size(), " pictures were read in spite of flaws; the first by name: ", name, ": ", flaw);
}

}  // namespace vlm2vec
