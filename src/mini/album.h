// One data set while it is being drawn: its random stream and its pictures, equal ones kept once. The makers of
// tasks.cpp fill it row by row; a longer set begins with the rows of a shorter one.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/sha256.h"
#include "mini/drawing.h"

namespace vlm2vec::mini {

inline constexpr int no_picture = -1;

// What the model embeds: a text in the form MMEB stores, a picture (a number of Album::pictures), or both.
struct Side {
  std::string text;
  int picture = no_picture;
};

struct Row {
  Side query;
  std::vector<Side> candidates;  // [0] is the positive; training rows have nothing else
};

class Album {
 public:
  Album(const World& world, uint64_t seed, bool test) : world(world), random(seed), test_(test) {}

  const World& world;
  Random random;

  // Text form of MMEB: "<|image_1|>\n" if there is a picture, the instruction, " " + text if there is one, "\n".
  Side side(const std::string& instruction, const std::string& text, int picture = no_picture) const;

  // Draws one picture per cell and returns its number.
  int draw(Layout layout, const std::vector<int>& cells, bool gray = false);
  int crop(int picture, Layout layout, int cell);
  int rendering(int thing);  // one rendering per thing and set: distractors come from this pool, each embedded once

  int pick(const std::vector<int>& pool) { return pool[random.below(uint32_t(pool.size()))]; }
  // `count` different members of the pool in random order, none of `avoid`; fewer if the pool has no more.
  std::vector<int> sample(std::vector<int> pool, int count, const std::vector<int>& avoid = {});

  // Distractors are made for test rows only; training has those of the batch.
  Row row(Side query, Side positive, const std::function<std::vector<Side>()>& distractors) const;

  // Bytes that are equal for equal text and equal pixels, whatever the set or the number of the picture.
  std::string content(const Side& side) const;

  const std::vector<Image>& pictures() const { return pictures_; }
  const Digest& digest(int picture) const { return digests_[picture]; }

  struct Scene {
    std::vector<int> things;
    Side side;
  };
  std::vector<Scene> scenes;  // pool of distractors of the scene tasks, drawn by their first test row

 private:
  int add(Image image);

  bool test_;
  std::vector<Image> pictures_;
  std::vector<Digest> digests_;
  std::map<Digest, int> number_of_;
  std::map<int, int> renderings_;
};

}  // namespace vlm2vec::mini
