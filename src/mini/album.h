// One data set while it is drawn: its random stream and its pictures, without duplicates. The makers of tasks.cpp fill
// it row by row; a longer set begins with the rows of a shorter one.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/sha256.h"
#include "mini/drawing.h"

namespace vlm2vec::mini {

inline constexpr int no_picture = -1;

// An input of the model: a text in MMEB's form, a picture (an index into Album::pictures), or both.
struct Side {
  std::string text;
  int picture = no_picture;
};

struct Row {
  Side query;
  std::vector<Side> candidates;  // [0] is the positive; training rows have no other
};

class Album {
 public:
  Album(const World& world, uint64_t seed, bool test) : world(world), random(seed), test_(test) {}

  const World& world;
  Random random;

  // Makes MMEB's text form: "<|image_1|>\n" for a picture, the instruction, " " + text for a text, "\n".
  Side side(const std::string& instruction, const std::string& text, int picture = no_picture) const;

  // Draws one picture per cell and returns its number.
  int draw(Layout layout, const std::vector<int>& cells, bool gray = false);
  int crop(int picture, Layout layout, int cell);
  int rendering(int thing);  // the thing's only rendering in this set, for distractors: each is embedded once

  int pick(const std::vector<int>& pool) { return pool[random.below(uint32_t(pool.size()))]; }
  // Returns `count` different members of the pool in random order, none of `avoid`; fewer if the pool runs out.
  std::vector<int> sample(std::vector<int> pool, int count, const std::vector<int>& avoid = {});

  // Makes distractors only for test rows: training uses the other rows of the batch.
  Row row(Side query, Side positive, const std::function<std::vector<Side>()>& distractors) const;

  // Returns bytes that are equal if text and pixels are equal, in any set.
  std::string content(const Side& side) const;

  const std::vector<Image>& pictures() const { return pictures_; }
  const Digest& digest(int picture) const { return digests_[picture]; }

  struct Scene {
    std::vector<int> things;
    Side side;
  };
  std::vector<Scene> scenes;  // the scene tasks' pool of distractors, drawn by the first test row

 private:
  int add(Image image);

  bool test_;
  std::vector<Image> pictures_;
  std::vector<Digest> digests_;
  std::map<Digest, int> number_of_;
  std::map<int, int> renderings_;
};

}  // namespace vlm2vec::mini
