#include "kills.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "io/error.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

pid_t start(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    execv(PROGRAM, pointers.data());
    _exit(127);
  }
  return child;
}

int half_written(const fs::path& output) {
  int count = 0;
  if (fs::is_directory(output))
    for (const auto& entry : fs::directory_iterator(output))
      count += entry.path().filename().string().find(".vlm2vec-tmp-") != std::string::npos;
  return count;
}

}  // namespace

Kills kill_and_resume(const std::vector<std::string>& arguments, const fs::path& output, int count, uint64_t seed) {
  Random random(seed);
  Kills result;
  int status = 0;
  while (result.kills < count) {
    const pid_t child = start(arguments);
    std::this_thread::sleep_for(std::chrono::milliseconds(300 + random.below(900)));
    if (waitpid(child, &status, WNOHANG) == child)
      fail(Exit::failed, "slow: training ended after ", result.kills, " kills, expected ", count,
           "; give it more steps");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    ++result.kills;
    result.inside_saves += half_written(output) > 0;
  }
  waitpid(start(arguments), &status, 0);
  result.finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  result.leftovers = half_written(output);
  return result;
}

}  // namespace vlm2vec
