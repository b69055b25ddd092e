// Texts in messages.
#include "io/text.h"

#include <gtest/gtest.h>

namespace vlm2vec {
namespace {

TEST(Text, one_line_has_no_control_characters_and_whole_letters) {
  EXPECT_EQ(one_line(std::string("a\n\r\t\x1B[1m\0b\x7F", 11)), "a    [1m b ");
  EXPECT_EQ(one_line("gr\u00FC\u00DFe", 3), "gr\u00FC...");
  EXPECT_EQ(one_line("gr\u00FC\u00DFe"), "gr\u00FC\u00DFe");
}

TEST(Text, lists_and_numbers_read_well) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"a", "b", "c", "d"}), "a, b, c, d");
  EXPECT_EQ(listed({"a", "b", "c", "d", "e", "f"}), "a, b, c, d and 2 more");
  EXPECT_EQ(counted(0, "item"), "0 items");
  EXPECT_EQ(counted(1, "item"), "1 item");
}

TEST(Text, utf8_is_told_from_other_bytes) {
  for (const char* good : {"", "plain letters", "gr\u00FC\u00DFe, longer than eight bytes", "\U0001F600"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"gr\xFC\xDF", "eight letters \xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

}  // namespace
}  // namespace vlm2vec
