// Decoding and resizing against Pillow: no byte may differ.
#include "vlm/image.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "temporary_folder.h"
#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"

namespace vlm2vec {
namespace {

Image image_of(const Tensor& bytes) {  // [h, w] or [h, w, channels]
  const int channels = bytes.shape().size() == 3 ? int(bytes.dim(2)) : 1;
  Image image{int(bytes.dim(1)), int(bytes.dim(0)), channels};
  std::copy_n(bytes.data<uint8_t>(), bytes.numel(), image.pixels.data());
  return image;
}

// The sentence that a refused file gives; empty if it is read.
std::string refusal(const std::filesystem::path& file) {
  try {
    read_picture(golden(file));
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, Exit::data) << file;
    return error.what();
  }
}

// How many samples differ, and the largest difference.
std::pair<int64_t, int> difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.size(), b.size());
  std::pair<int64_t, int> result{0, 0};
  for (size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i) {
    result.first += a.pixels[i] != b.pixels[i];
    result.second = std::max(result.second, std::abs(a.pixels[i] - b.pixels[i]));
  }
  return result;
}

TEST(ImageGolden, EveryFormatIsDecodedLikePillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors decoded = load_safetensors(golden("pixels/decoded.safetensors"));
  const std::map<std::string, Mode> modes = {{"1", Mode::bilevel}, {"L", Mode::gray},      {"LA", Mode::gray_alpha},
                                             {"P", Mode::palette}, {"RGB", Mode::rgb},     {"RGBA", Mode::rgba},
                                             {"CMYK", Mode::cmyk}, {"I;16", Mode::gray16}, {"I", Mode::gray32}};
  std::map<std::string, int> files;
  for (const auto& entry : read_json(golden("pixels/manifest.json"))) {
    const std::string name = entry["file"];
    SCOPED_TRACE(name);
    const Picture picture = read_picture(golden("pixels/files/" + name));
    EXPECT_EQ(picture.flaw, "");
    // Pillow has no mode for 16-bit gray with alpha and repeats the gray.
    EXPECT_EQ(name == "png_graya16.png" ? Mode::rgba : picture.mode, modes.at(entry["mode"])) << entry["mode"];
    const auto [samples, most] = difference(to_rgb(picture), image_of(decoded.at(name)));
    EXPECT_EQ(samples, 0) << "up to " << most << " levels";
    ++files[entry["format"]];
  }
  EXPECT_GE(files["PNG"], 36);
  EXPECT_GE(files["JPEG"], 48);
  EXPECT_GE(files["GIF"], 7);
  EXPECT_GE(files["BMP"], 8);
  EXPECT_GE(files["WEBP"], 5);
  EXPECT_GE(files["PPM"], 9);
}

TEST(ImageGolden, DamagedFilesAreReadOrRefusedLikePillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors accepted = load_safetensors(golden("pixels/broken.safetensors"));
  int read = 0, refused = 0;
  for (const auto& entry : read_json(golden("pixels/broken.json"))) {
    const std::string name = entry["file"], why = refusal("pixels/broken/" + name);
    SCOPED_TRACE(name);
    EXPECT_EQ(why.empty(), entry["result"] == "ok") << why;
    if (why.empty()) {
      const Picture picture = read_picture(golden("pixels/broken/" + name));
      EXPECT_EQ(to_rgb(picture), image_of(accepted.at(name)));
      // The one scan that was overwritten is as good a scan as the original: nobody can see the damage.
      EXPECT_TRUE(name == "jpg_corrupt_scan.jpg" || !picture.flaw.empty());
    } else {
      EXPECT_NE(why.find(name), std::string::npos) << why;
      EXPECT_EQ(why.find('\n'), std::string::npos) << why;
    }
    ++(why.empty() ? read : refused);
  }
  EXPECT_GE(read, 11);
  EXPECT_GE(refused, 48);
}

TEST(Image, RefusalsSayWhatIsWrong) {
  const auto expect = [](const std::string& file, const std::string& part) {
    EXPECT_NE(refusal(file).find(part), std::string::npos) << refusal(file);
  };
  expect("pixels/broken/html.png", "is no picture of a known format; expected PNG, JPEG");
  expect("pixels/broken/jpg_cut_90.jpg", "within the picture; it is cut");
  expect("pixels/broken/jpg_60000.jpg", "60000x60000 pixels; pictures of more than 178956970 are refused");
  expect("pixels/broken/png_13000.png", "cannot be packed into");
  expect("pixels/broken/ppm_letters.ppm", "\"two\", expected a number");
  expect("no/such/file.png", "no/such/file.png");
  EXPECT_NE(refusal("pixels/files"), "");
  EXPECT_THROW(decode_picture({}, "empty"), Error);
}

TEST(Image, FlawsSayWhatIsWrong) {
  const auto flaw = [](const std::string& name) { return read_picture(golden("pixels/broken/" + name)).flaw; };
  EXPECT_EQ(flaw("jpg_as.png"), "the name says PNG, the bytes say JPEG");
  EXPECT_EQ(flaw("png_trailing_garbage.png"), "7 bytes follow the end of the picture");
  EXPECT_EQ(flaw("png_bad_idat_crc.png"), "a check sum of the PNG is wrong");
  EXPECT_EQ(flaw("jpg_no_huffman.jpg"), "the JPEG has no Huffman tables; the standard's were assumed");
  EXPECT_NE(flaw("jpg_stray_marker.jpg").find("damaged JPEG: Corrupt JPEG data"), std::string::npos);
}

// A scan costs a pass over the whole picture, and its bytes may be few.
TEST(Jpeg, FilesOfScansAreRefused) {
  const std::string whole = read_text(golden("pixels/files/jpg_420_q30_progressive.jpg"));
  const size_t last = whole.rfind("\xFF\xDA");
  std::string many = whole.substr(0, last);
  for (int i = 0; i < 600; ++i) many += whole.substr(last, whole.size() - 2 - last);
  many += "\xFF\xD9";
  try {
    decode_picture({reinterpret_cast<const uint8_t*>(many.data()), many.size()}, "scans.jpg");
    ADD_FAILURE() << "was read";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "scans.jpg: damaged JPEG: more than 500 scans");
  }
}

// A BMP whose 8-bit samples are given as runs: 3 x 2 pixels, a stretch with its padding, a jump and a run.
TEST(Bmp, RunLengthsAreDecoded) {
  std::string file("BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0\3\0\0\0\2\0\0\0\1\0\x08\0\1\0\0\0", 34);
  file += std::string(12, '\0') + std::string("\4\0\0\0\0\0\0\0", 8);     // four colours
  file += std::string("\1\2\3\0\4\5\6\0\7\x08\x09\0\x0a\x0b\x0c\0", 16);  // blue, green, red
  file += std::string("\0\3\1\2\3\0\0\0\0\2\1\0\2\2\0\1", 16);
  const Picture picture = decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "runs.bmp");
  EXPECT_EQ(picture.samples.pixels, (std::vector<uint8_t>{0, 2, 2, 1, 2, 3}));
  const Image rgb = to_rgb(picture);
  EXPECT_EQ(std::vector<uint8_t>(rgb.at(1, 0), rgb.at(1, 1)), (std::vector<uint8_t>{6, 5, 4}));
}

TEST(Pnm, NumbersMayHaveComments) {
  const std::string file = "P2 # width and height\n2 1\n#\n300 # most\n1#cut\r50\n600";
  const auto decode = [](const std::string& text) {
    return decode_picture({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "plain.pgm");
  };
  EXPECT_THROW(decode(file), Error);  // 600 is beyond 300
  const Picture picture = decode(file.substr(0, file.size() - 3) + "0");
  EXPECT_EQ(picture.wide, (std::vector<int32_t>{32768, 0}));  // 150 / 300 65535, half to even
}

// What is cut behind the last pixel's bits loads: the check sum of the pixels (4 bytes), that of the chunk and the end.
TEST(Png, EveryTruncationIsHandled) {
  const std::string whole = read_text(golden("pixels/files/png_interlaced_3x2.png"));
  const auto decode = [&](size_t size) {
    return decode_picture({reinterpret_cast<const uint8_t*>(whole.data()), size}, "cut");
  };
  const Image expected = decode(whole.size()).samples;
  size_t first_read = whole.size();
  for (size_t size = whole.size(); size-- > 0;) try {
      const Picture picture = decode(size);
      EXPECT_EQ(picture.samples, expected) << size;
      EXPECT_NE(picture.flaw, "") << size;
      EXPECT_EQ(first_read, size + 1);
      first_read = size;
    } catch (const Error&) {
    }
  EXPECT_LE(first_read, whole.size() - 12 - 4 - 4);
  EXPECT_GE(first_read, whole.size() - 12 - 4 - 4 - 3);
}

TEST(Png, WrittenFilesReadBackAndAreEqualForEqualPictures) {
  const TemporaryFolder folder("png");
  for (const int channels : {1, 2, 3, 4}) {
    Image image(19, 7, channels);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(i * i + channels);
    const auto first = folder / "a.png", second = folder / "b.png";
    write_png(first, image);
    write_png(second, image);
    EXPECT_EQ(read_picture(first).samples, image);
    EXPECT_EQ(read_text(first), read_text(second));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2) << "a temporary file was left";
  EXPECT_THROW(write_png(folder / "missing" / "c.png", Image(1, 1, 1)), Error);
}

TEST(ResizeGolden, FiveFiltersEqualPillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors arrays = load_safetensors(golden("pixels/resize.safetensors"));
  std::map<std::string, int> cases;
  for (const auto& [key, expected_bytes] : arrays) {
    if (key.starts_with("src/")) continue;
    const std::string name = key.substr(0, key.find('|')), filter = key.substr(key.rfind('|') + 1);
    // Pictures that had a palette, or were black and white: nearest, whatever was asked for.
    const bool own_mode = filter.starts_with("resized_in_mode");
    std::string lower;
    for (const char c : own_mode ? "NEAREST" : filter) lower += char(std::tolower(c));
    const Image expected = image_of(expected_bytes);
    EXPECT_EQ(resize(image_of(arrays.at("src/" + name)), expected.size(), parse_filter(lower)), expected) << key;
    ++cases[filter];
  }
  for (const char* filter : {"NEAREST", "BOX", "BILINEAR", "BICUBIC", "LANCZOS"}) EXPECT_GE(cases[filter], 30);
  EXPECT_EQ(cases.size(), 7u);
}

// Pillow 11.3: Image.open(file).resize(size, filter).convert("RGB"). Versions before 11 refuse I;16 with other filters
// than nearest; all others give the same bytes in each.
TEST(ResizeGolden, InTheFilesOwnModeEqualsPillow) {
  NEEDS_GOLDEN("own_mode")
  std::map<std::string, int> cases;
  for (const auto& [key, expected_bytes] : load_safetensors(golden("own_mode/resized.safetensors"))) {
    const std::string name = key.substr(0, key.find('|'));
    std::string filter;
    for (const char c : key.substr(key.rfind('|') + 1)) filter += char(std::tolower(c));
    const Image expected = image_of(expected_bytes);
    const Picture picture = read_picture(golden("pixels/files/" + name));
    EXPECT_EQ(to_rgb(resize(picture, expected.size(), parse_filter(filter))), expected) << key;
    ++cases[name];
  }
  EXPECT_EQ(cases.size(), 8u);
}

TEST(Resize, KeepsWhatHasTheRightSizeAndRefusesNoSize) {
  Image image(3, 2, 4);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(i * 11);
  EXPECT_EQ(resize(image, {3, 2}, Filter::lanczos), image);  // premultiplying and dividing would lose bits
  EXPECT_THROW(resize(image, {0, 2}, Filter::box), Error);
  EXPECT_THROW(parse_filter("hamming"), Error);
}

}  // namespace
}  // namespace vlm2vec
