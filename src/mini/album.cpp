#include "mini/album.h"

#include <algorithm>
#include <utility>

namespace vlm2vec::mini {

Side Album::side(const std::string& instruction, const std::string& text, int picture) const {
  return {(picture == no_picture ? "" : "<|image_1|>\n") + instruction + (text.empty() ? "" : " " + text) + "\n",
          picture};
}

int Album::add(Image image) {
  std::string bytes = {char(image.width), char(image.height)};  // at most 96
  bytes.append(image.pixels.begin(), image.pixels.end());
  const Digest digest = sha256(bytes);
  const auto [entry, fresh] = number_of_.emplace(digest, int(pictures_.size()));
  if (fresh) {
    pictures_.push_back(std::move(image));
    digests_.push_back(digest);
  }
  return entry->second;
}

int Album::draw(Layout layout, const std::vector<int>& cells, bool gray) {
  const Image image = draw_cells(world, layout, cells, random);
  return add(gray ? grayscale(image) : image);
}

int Album::crop(int picture, Layout layout, int cell) { return add(crop_cell(pictures_[picture], layout, cell)); }

int Album::rendering(int thing) {
  const auto known = renderings_.find(thing);
  return known != renderings_.end() ? known->second : renderings_[thing] = draw(single, {thing});
}

std::vector<int> Album::sample(std::vector<int> pool, int count, const std::vector<int>& avoid) {
  std::erase_if(pool, [&](int x) { return std::find(avoid.begin(), avoid.end(), x) != avoid.end(); });
  random.shuffle(pool);
  if (int(pool.size()) > count) pool.resize(count);
  return pool;
}

Row Album::row(Side query, Side positive, const std::function<std::vector<Side>()>& distractors) const {
  Row row{std::move(query), {std::move(positive)}};
  if (!test_) return row;
  const std::vector<Side> others = distractors();
  row.candidates.insert(row.candidates.end(), others.begin(), others.end());
  return row;
}

std::string Album::content(const Side& side) const {
  if (side.picture == no_picture) return side.text + '\0';
  const Digest& digest = digests_[side.picture];
  return side.text + '\0' + std::string(digest.begin(), digest.end());
}

}  // namespace vlm2vec::mini
