// Recipes for a row of the 19 data sets of the miniature MMEB and the optional TuxPaint.
// The sets follow MMEB's four meta-tasks. Eleven are in distribution (IND: training and test). The others (OOD: test
// only) change the rendering (gray), the things (never seen) or the layout (pair, row).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "mini/album.h"

namespace vlm2vec::mini {

struct Task {
  std::string name;       // "EmojiNet"
  std::string meta_task;  // "classification", "vqa", "retrieval" or "grounding"
  std::string split;      // "IND" or "OOD"
  bool optional;          // reported, but not counted in OOD and Overall
  std::function<Row(Album&)> draw_row;
};

// Returns the tasks in the order of the table; TuxPaint is last, and absent if the world has no stamps.
std::vector<Task> mini_tasks(const World& world);

}  // namespace vlm2vec::mini
