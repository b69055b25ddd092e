// TensorBoard's event files, byte by byte.
#include "mmeb/training/tensorboard.h"

#include <gtest/gtest.h>

#include "expect_error.h"
#include "io/files.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

std::string hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char byte : bytes) text += "0123456789abcdef"[byte >> 4], text += "0123456789abcdef"[byte & 15];
  return text;
}

TEST(TensorBoardFile, crc_is_castagnolis) {  // RFC 3720, B.4
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

// As the tensorboard package writes the same event (EventFileWriter; wall_time 1.5, step 300).
TEST(TensorBoardFile, has_the_bytes_of_the_tensorboard_package) {
  const std::string event = tensorboard_event(1.5, 300, {{"train/loss", 0.25}, {"a", -2}});
  EXPECT_EQ(hex(event), "09000000000000f83f10ac022a1d0a110a0a747261696e2f6c6f7373150000803e0a080a016115000000c0");
  EXPECT_EQ(hex(tensorboard_record(event)),
            "2b00000000000000861bc34b09000000000000f83f10ac022a1d0a110a0a747261696e2f6c6f7373150000803e0a080a0161150000"
            "00c057f17faf");
}

TEST(TensorBoardFile, begins_with_its_version_and_the_session) {
  const TemporaryFolder folder("tensorboard");
  {
    TensorBoard board(folder / "runs/one", 3);
    board.add(3, {{"x", 1}});
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "runs/one")) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1u);
  EXPECT_TRUE(files[0].filename().string().starts_with("events.out.tfevents."));
  const std::string bytes = read_text(files[0]);
  EXPECT_EQ(hex(bytes.substr(0, 8)), "1800000000000000");
  EXPECT_EQ(bytes.substr(12 + 9, 15),
            "\x1A\x0D"
            "brain.Event:2");
  // Then a session begins at step 3: time, step, SessionLog{status: START}.
  EXPECT_EQ(bytes.substr(40 + 12 + 9, 6), "\x10\x03\x3A\x02\x08\x01");
  EXPECT_EQ(bytes.size(), (12 + 24 + 4) + (12 + 15 + 4) + (12 + 9 + 2 + 2 + 2 + 8 + 4));
  write_text(folder / "file", "");
  expect_error(Exit::resources, "file", [&] { TensorBoard board(folder / "file/runs", 1); });
}

}  // namespace
}  // namespace vlm2vec
