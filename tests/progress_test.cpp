// The line of progress: what is left out of it where the terminal is narrow, and how slow work is told.
#include "io/progress.h"

#include <gtest/gtest.h>

namespace vlm2vec {
namespace {

const std::vector<std::string> kDetails = {"loss 0.1234", "acc 0.95", "0.4 s/pair", "lr 1.00e-05", "duplicates 0.25"};

TEST(Progress, keeps_the_time_and_drops_the_last_details_first) {
  const auto line = [](size_t columns) {
    std::string text = progress_line("train", 120, 2000, kDetails, "ETA 1:02:10", columns);
    EXPECT_EQ(text.size(), columns);
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  EXPECT_EQ(
      line(110),
      "train 120/2000 [................] loss 0.1234  acc 0.95  0.4 s/pair  lr 1.00e-05  duplicates 0.25  ETA 1:02:10");
  EXPECT_EQ(line(79), "train 120/2000 loss 0.1234  acc 0.95  0.4 s/pair  lr 1.00e-05  ETA 1:02:10");
  EXPECT_EQ(line(60), "train 120/2000 [........] loss 0.1234  acc 0.95  ETA 1:02:10");
  EXPECT_EQ(line(26), "train 120/2000 ETA 1:02:10");
}

}  // namespace
}  // namespace vlm2vec
