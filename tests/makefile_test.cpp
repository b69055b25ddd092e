// What the Makefile says of itself, and how the demonstration's folder goes from one set of numbers to another.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/files.h"
#include "shell.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

TEST(Makefile, HelpListsEveryTargetAndTheVariables) {
  ASSERT_TRUE(output_of("make --version 2>&1").starts_with("GNU Make"));
  const std::string help = output_of("make -s --no-print-directory -C '" SOURCE_DIR "' help STEPS=77 2>&1");
  std::istringstream lines(read_text(SOURCE_DIR "/Makefile"));
  int targets = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(".PHONY: ")) continue;
    std::istringstream names(line.substr(8));
    for (std::string name; names >> name; ++targets)
      EXPECT_NE(help.find("\n  " + name + " "), std::string::npos) << name << " is not in\n" << help;
  }
  EXPECT_GE(targets, 10);
  for (const char* variable : {"JOBS=", "DEMO=runs/demo ", "STEPS=77 ", "TRAIN_ROWS=", "TEST_ROWS=", "SEED=", "DEVICE=",
                               "PACK=build-gpu ", "SHAPE=mid ",
                               "PRECISION=f32 ", "UPDATE=", "FILES="})
    EXPECT_NE(help.find(variable), std::string::npos) << variable;
}

TEST(Makefile, ADemonstrationWithOtherNumbersKeepsTheEarlierOne) {
  const TemporaryFolder folder("demo runs");
  const auto prepare = [&](const std::string& steps) {
    int code = 0;
    const std::string said = output_of(
        "'" SOURCE_DIR "/tools/demo_runs.sh' '" + folder.path().string() + "' STEPS=" + steps + " SEED=42 2>&1", &code);
    EXPECT_EQ(code, 0) << said;
    return said;
  };
  const auto train = [&](const std::string& steps) {
    fs::create_directories(folder / "model");
    write_text(folder / "model/steps", steps);
  };
  EXPECT_EQ(prepare("2000"), "");
  fs::create_directories(folder / "data");
  train("2000");
  EXPECT_EQ(prepare("2000"), "");  // goes on
  EXPECT_EQ(read_text(folder / "model/steps"), "2000");
  const std::string said = prepare("300");
  EXPECT_NE(said.find("had a run with STEPS=2000 SEED=42, which is now in "), std::string::npos) << said;
  EXPECT_NE(said.find("this one has STEPS=300 SEED=42"), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(folder / "model"));
  EXPECT_TRUE(fs::exists(folder / "data"));
  train("300");
  prepare("2000");  // the first one comes back
  EXPECT_EQ(read_text(folder / "model/steps"), "2000");
  prepare("300");
  EXPECT_EQ(read_text(folder / "model/steps"), "300");
}

}  // namespace
}  // namespace vlm2vec
