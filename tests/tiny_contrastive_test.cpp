// examples/tiny_contrastive.cpp learns: its loss falls, it finds held-out pictures, and its control learns nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <regex>

#include "shell.h"

namespace vlm2vec {
namespace {

struct TableRow {
  int step;
  double loss, in_batch, held_out;
};

// The rows of both tables that the program prints: of training and of the control.
std::vector<std::vector<TableRow>> printed_tables() {
  int code = -1;
  const auto program = std::filesystem::path(PROGRAM).replace_filename("tiny_contrastive");  // both at the build's root
  const std::string text = output_of("'" + program.string() + "'", &code);
  EXPECT_EQ(code, 0) << text;
  static const std::regex row(R"( +([0-9]+) +([0-9.]+) +([0-9.]+) % +([0-9.]+) %)");
  std::vector<std::vector<TableRow>> tables;
  for (std::sregex_iterator match(text.begin(), text.end(), row), end; match != end; ++match) {
    const TableRow next{std::stoi((*match)[1]), std::stod((*match)[2]), std::stod((*match)[3]), std::stod((*match)[4])};
    if (next.step == 0) tables.emplace_back();
    tables.back().push_back(next);
  }
  return tables;
}

TEST(TinyContrastive, LearnsWhatPairsTeachAndNothingFromShuffledOnes) {
  const auto tables = printed_tables();
  ASSERT_EQ(tables.size(), 2u);
  const auto &trained = tables[0], &control = tables[1];
  ASSERT_GE(trained.size(), 5u);
  ASSERT_EQ(control.size(), trained.size());
  const double guessing = std::log(64);
  EXPECT_GT(trained.front().loss, 0.9 * guessing);
  EXPECT_LT(trained.front().held_out, 6);
  EXPECT_LT(trained.back().loss, 0.5);
  EXPECT_GT(trained.back().in_batch, 95);
  EXPECT_GT(trained.back().held_out, 95);  // of 135 pictures of things that no training pair showed
  EXPECT_NEAR(control.back().loss, guessing, 0.1);
  for (const TableRow& row : control) EXPECT_LT(row.held_out, 8) << "step " << row.step;
}

}  // namespace
}  // namespace vlm2vec
