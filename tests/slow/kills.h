// Training that is killed again and again (SIGKILL, some inside a save) and goes on each time.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

struct Kills {
  int kills = 0, inside_saves = 0;  // the latter left a half-written folder or file
  int leftovers = 0;                // of those, still there after the last run
  bool finished = false;
};
// Runs the program with `arguments` (train … --output_dir OUTPUT --resume_from auto), kills it `count` times after
// random times that follow from `seed`, then lets it finish.
Kills kill_and_resume(const std::vector<std::string>& arguments, const std::filesystem::path& output, int count,
                      uint64_t seed);

}  // namespace vlm2vec
