// Pictures as accidents leave them: 200 replaced bytes and 50 cuts of each kind are read or refused in one sentence,
// with at most twice the memory that the size in their header may take.
#include <gtest/gtest.h>
#include <webp/decode.h>
#include <zlib.h>

#include <chrono>

#include "damage.h"
#include "golden.h"
#include "io/files.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

uint32_t number(const std::string& bytes, size_t at, int count, bool little) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i)
    if (at + size_t(i) < bytes.size())
      value |= uint32_t(uint8_t(bytes[at + size_t(i)])) << 8 * (little ? i : count - 1 - i);
  return value;
}

// Pixels that the header claims. BMP, PNM and TGA count their bytes before they believe it.
int64_t claimed(const std::string& file) {
  if (file[0] == '\x89') return int64_t(number(file, 16, 4, false)) * number(file, 20, 4, false);
  int width = 0, height = 0;
  if (file[0] == 'R' && WebPGetInfo(reinterpret_cast<const uint8_t*>(file.data()), file.size(), &width, &height))
    return int64_t(width) * height;
  int64_t most = 0;
  if (file[0] == '\xFF')  // the frame headers SOF0 to SOF15, with which DHT, JPG and DAC share their numbers
    for (size_t at = 2; at + 9 < file.size(); ++at)
      if (file[at] == '\xFF' && (file[at + 1] & '\xF0') == '\xC0' && (file[at + 1] == '\xC0' || file[at + 1] & 3))
        most = std::max(most, int64_t(number(file, at + 5, 2, false)) * number(file, at + 7, 2, false));
  if (file[0] == 'G') {
    const auto side = [&](size_t at) { return int64_t(number(file, at, 2, true)); };
    most = side(6) * side(8);
    size_t at = 13 + (file[10] & '\x80' ? size_t(3) << ((file[10] & 7) + 1) : 0);
    for (; at < file.size() && file[at] != ','; ++at)
      if (file[at] == '!')
        for (at += 2; number(file, at, 1, true); at += number(file, at, 1, true) + 1) continue;
    most =
        std::max(most, std::max(side(6), side(at + 1) + side(at + 5)) * std::max(side(8), side(at + 3) + side(at + 7)));
  }
  return most;
}

// A PNG whose check sums are right again: damage reaches what lies behind them.
std::string mended(std::string png) {
  for (size_t at = 8; png.size() - at >= 12;) {
    const size_t length = number(png, at, 4, false);
    if (length > png.size() - at - 12) break;
    const uint32_t sum = uint32_t(crc32(0, reinterpret_cast<const uint8_t*>(&png[at + 4]), uInt(length + 4)));
    for (size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = char(sum >> (24 - 8 * i));
    at += length + 12;
  }
  return png;
}

// Ten rows of a run of 30 pixels and a stretch of ten, of 24 bits or with a palette of 8 colours.
std::string tga_in_runs(bool palette) {
  std::string file(18, '\0');
  file[1] = palette, file[2] = palette ? 9 : 10, file[12] = 40, file[14] = 10, file[16] = palette ? 8 : 24;
  if (palette) file[5] = 8, file[7] = 24, file += "colours of the palette..";
  const size_t pixel = palette ? 1 : 3;
  for (int row = 0; row < 10; ++row)
    file += "\x9D" + std::string(pixel, char(row)) + "\x09" + std::string(10 * pixel, '\3');
  return file;
}

class ImageDamage : public testing::TestWithParam<const char*> {};

TEST_P(ImageDamage, IsReadOrRefusedWithinHonestMemory) {
  const std::string name = GetParam(), whole = name.ends_with(".tga") ? tga_in_runs(name == "palette.tga")
                                                                      : read_text(golden("pixels/files/" + name));
  const auto read = [&](const std::string& bytes) {
    const std::string file = whole[0] == '\x89' && bytes.size() == whole.size() ? mended(bytes) : bytes;
    const Picture picture = decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, name);
    const Image rgb = to_rgb(picture);
    EXPECT_EQ(rgb.pixels.size(), size_t(rgb.width) * rgb.height * 3);
  };
  reset_peak_allocated();
  read(whole);
  const int64_t intact = peak_allocated(), pixels = std::max<int64_t>(1, claimed(whole));
  const auto start = std::chrono::steady_clock::now();
  const Damage counts = damage(whole, 7, read, [&](const std::string& bytes) {
    const int64_t claim = bytes.size() < 14 ? 0 : claimed(bytes);
    return claim > most_pixels ? 0 : intact * std::max<int64_t>(1, claim / pixels);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(120));
  EXPECT_GE(counts.refused, 40);  // nearly all cuts
  EXPECT_EQ(counts.read + counts.refused, 250);
  std::printf("%s: %d read, %d refused\n", name.c_str(), counts.read, counts.refused);
}

INSTANTIATE_TEST_SUITE_P(Files, ImageDamage,
                         testing::Values("png_rgb8.png", "png_interlaced_pal4.png", "png_gray16.png", "jpg_420_q90.jpg",
                                         "jpg_420_q30_progressive.jpg", "jpg_arithmetic.jpg", "jpg_cmyk_adobe.jpg",
                                         "jpg_restart_1.jpg", "webp_lossy.webp", "webp_alpha_lossless.webp",
                                         "webp_animated.webp", "gif_plain.gif", "gif_animated.gif", "bmp_P.bmp",
                                         "bmp_RGB.bmp", "bmp_565.bmp", "ppm_p6.ppm", "ppm_p3.ppm", "pgm_p5_16bit.pgm",
                                         "pbm_p4.pbm", "colours.tga", "palette.tga"),
                         [](const auto& file) {
                           std::string name = file.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace vlm2vec
