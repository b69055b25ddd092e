// Hashes of files that are remembered: true while the file is the same, whatever happens to the memory.
#include "vlm/known_hashes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "temporary_folder.h"
#include "vlm/model_hash.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// A user's cache folder of its own, and files of this repository, which were not written a moment ago.
class Known : public testing::Test {
 protected:
  Known() { cache(folder_ / "cache"); }
  ~Known() override {
    if (before_.empty()) unsetenv("XDG_CACHE_HOME");
    else setenv("XDG_CACHE_HOME", before_.c_str(), 1);
  }
  static void cache(const fs::path& place) { setenv("XDG_CACHE_HOME", place.c_str(), 1); }
  static std::string hash(const fs::path& file) { return known_hashes({file}).at(0); }

  const TemporaryFolder folder_{"known"};
  const fs::path memory_ = folder_ / "cache/vlm2vec/file_hashes.json";
  const fs::path file_ = fs::canonical(SOURCE_DIR "/examples/mini-qwen2-vl.json");
  const std::string true_hash_ = hash_of_file(file_);

 private:
  const std::string before_ = std::getenv("XDG_CACHE_HOME") ? std::getenv("XDG_CACHE_HOME") : "";
};

TEST_F(Known, LiesInTheUsersCacheFolder) {
  EXPECT_EQ(hash_memory(), memory_);
  cache("relative");  // means nothing, says the standard
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  setenv("HOME", "/somebody", 1);
  EXPECT_EQ(hash_memory(), "/somebody/.cache/vlm2vec/file_hashes.json");
  if (home.empty()) unsetenv("HOME");
  else setenv("HOME", home.c_str(), 1);
}

// A false memory is believed, so the file was not read; one of another stamp, or a damaged one, is not.
TEST_F(Known, IsReadInPlaceOfTheFile) {
  EXPECT_EQ(hash(file_), true_hash_);
  nlohmann::json known = read_json(memory_);
  ASSERT_TRUE(known.contains(file_.string())) << known;
  EXPECT_EQ(known[file_.string()]["sha256"], true_hash_);
  known[file_.string()]["sha256"] = "of something else";
  write_json(memory_, known);
  EXPECT_EQ(hash(file_), "of something else");
  for (const size_t part : {0, 1, 2, 3, 4}) {  // size, modification, change, inode, device
    nlohmann::json other = known;
    other[file_.string()]["stamp"][part] = 0;
    write_json(memory_, other);
    EXPECT_EQ(hash(file_), true_hash_) << part;
  }
  for (const char* damaged : {"{", "[]", "", R"({"x": 3})"}) {
    write_text(memory_, damaged);
    EXPECT_EQ(hash(file_), true_hash_) << damaged;
    EXPECT_EQ(hash(file_), true_hash_) << damaged;
  }
}

TEST_F(Known, DoesNotHoldWhatWasJustWritten) {
  write_text(folder_ / "new", "weights");
  hash(folder_ / "new");
  EXPECT_FALSE(fs::exists(memory_));
}

TEST_F(Known, ForgetsFilesThatAreGone) {
  fs::create_directories(memory_.parent_path());
  write_text(memory_, R"({"/nowhere/model.safetensors": {"stamp": [1, 2, 3, 4, 5], "sha256": "00"}})");
  hash(file_);
  EXPECT_FALSE(read_json(memory_).contains("/nowhere/model.safetensors"));
}

TEST_F(Known, NeedsNoPlaceToRemember) {
  write_text(folder_ / "file", "");
  cache(folder_ / "file");  // no folder can be made there
  EXPECT_EQ(hash(file_), true_hash_);
}

TEST_F(Known, ManyMayWriteAtOnce) {
  std::vector<pid_t> children;
  for (int p = 0; p < 6; ++p) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    bool same = true;
    for (int i = 0; i < 10; ++i) fs::remove(memory_), same = same && hash(file_) == true_hash_;
    _exit(same ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(hash(file_), true_hash_);
}

// Same size, same modification time, other weights: the time of change gives it away.
TEST_F(Known, ModelHashSeesAChangedFile) {
  const auto model = folder_ / "model", copy = folder_ / "copy";
  for (const auto& place : {model, copy}) {
    fs::create_directories(place);
    write_text(place / "config.json", "{}");
    write_text(place / "model.safetensors", "weights");
    write_text(place / "README.md", place.string());  // no part of it
  }
  const Digest before = ModelHash(model, "").digest();
  EXPECT_EQ(ModelHash(model, "").digest(), before);
  EXPECT_EQ(ModelHash(copy, "").digest(), before);
  EXPECT_NE(ModelHash(model, copy).digest(), before);
  struct stat s {};
  stat((model / "model.safetensors").c_str(), &s);
  {
    std::ofstream out(model / "model.safetensors", std::ios::in | std::ios::out);  // in place, the same inode
    out << "Weights";
  }
  const timespec times[2] = {s.st_atim, s.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, (model / "model.safetensors").c_str(), times, 0), 0);
  EXPECT_NE(ModelHash(model, "").digest(), before);
}

}  // namespace
}  // namespace vlm2vec
