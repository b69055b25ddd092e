#include "vlm/image_cache.h"

namespace vlm2vec {

std::shared_ptr<const Image> ImageCache::get(const std::filesystem::path& path, const ProcessorConfig& config) {
  const std::string& name = path.native();
  {
    std::lock_guard guard(lock_);
    if (const auto found = images_.find(name); found != images_.end()) return found->second;
  }
  auto image = std::make_shared<const Image>(resize_for_model(read_image(path), config));
  std::lock_guard guard(lock_);
  if (!images_.emplace(name, image).second) return image;
  order_.push_back(name);
  bytes_ += int64_t(image->pixels.size());
  while (bytes_ > limit_ && order_.size() > 1) {
    const auto oldest = images_.find(order_.front());
    bytes_ -= int64_t(oldest->second->pixels.size());
    images_.erase(oldest);
    order_.pop_front();
  }
  return image;
}

}  // namespace vlm2vec
