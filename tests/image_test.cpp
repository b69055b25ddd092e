// Decoding and resizing against Pillow: no byte may differ.
#include "vlm/image/image.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/error.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"

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
  expect("pixels/broken/html.png", "is a text that begins with \"<");
  expect("pixels/broken/jpg_cut_90.jpg", "the JPEG is truncated: it ends after");
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

// What Pillow 10.4 reads of TGA: 3 x 2 pixels of each kind, from each corner, in runs or not.
TEST(Tga, KindsAndCornersAreReadLikePillow) {
  const auto read = [](int type, int bits, int flags, const std::string& rest, bool palette = false) {
    std::string file(18, '\0');
    file[1] = palette, file[2] = char(type), file[12] = 3, file[14] = 2, file[16] = char(bits), file[17] = char(flags);
    if (palette) file[5] = 3, file[7] = 24;
    file += rest;
    return decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "a.tga");
  };
  using Samples = std::vector<uint8_t>;
  EXPECT_EQ(read(3, 8, 0x20, "abcdef").samples.pixels, (Samples{'a', 'b', 'c', 'd', 'e', 'f'}));
  EXPECT_EQ(read(3, 8, 0, "abcdef").samples.pixels, (Samples{'d', 'e', 'f', 'a', 'b', 'c'}));
  EXPECT_EQ(read(3, 8, 0x30, "abcdef").samples.pixels, (Samples{'c', 'b', 'a', 'f', 'e', 'd'}));
  EXPECT_EQ(read(11, 8, 0x20,
                 "\x82"
                 "a"
                 "\x02"
                 "def")
                .samples.pixels,
            (Samples{'a', 'a', 'a', 'd', 'e', 'f'}));
  EXPECT_EQ(read(2, 24, 0x20, "bgrBGR............").samples.pixels[3], 'R');
  EXPECT_EQ(read(2, 32, 0x20, std::string(24, 'x')).mode, Mode::rgba);
  EXPECT_EQ(read(3, 16, 0x20, std::string(12, 'x')).mode, Mode::gray_alpha);
  const Picture words = read(2, 16, 0x20, "\x1F\x80" + std::string(10, '\0'));  // 255, 0, 0 in blue; transparent
  EXPECT_EQ(Samples(words.samples.pixels.begin(), words.samples.pixels.begin() + 8),
            (Samples{0, 0, 255, 0, 0, 0, 0, 255}));
  const Picture indexed = read(1, 8, 0x20, "bgrBGR..." + std::string("\0\1\2\2\1\0", 6), true);
  EXPECT_EQ(indexed.mode, Mode::palette);
  EXPECT_EQ(indexed.samples.pixels, (Samples{0, 1, 2, 2, 1, 0}));
  EXPECT_EQ(Samples(indexed.palette.begin() + 4, indexed.palette.begin() + 7), (Samples{'R', 'G', 'B'}));
  const auto refused = [&](const char* part, auto... values) {
    expect_error(Exit::data, part, [&] { read(values...); });
  };
  refused("convert it to PNG", 2, 15, 0, std::string(12, 'x'));
  refused("the TGA is truncated", 3, 8, 0, "abcde");
  refused("is truncated", 11, 8, 0,
          "\x82"
          "a"
          "\x02"
          "de");
  refused("a run is longer than its row", 11, 8, 0,
          "\x85"
          "a");
}

// stb_image repeats bits, and takes a picture for opaque that is transparent all over, unless masks are given.
TEST(Bmp, SixteenBitsAndAlphaAreReadLikePillow) {
  const auto read = [](int bits, std::array<uint32_t, 4> masks, const std::string& pixels) {
    std::string file("BM\0\0\0\0\0\0\0\0\x46\0\0\0\x38\0\0\0\1\0\0\0\1\0\0\0\1\0", 28);
    file += std::string{char(bits), '\0', '\3', '\0', '\0', '\0'} + std::string(20, '\0');
    for (const uint32_t mask : masks)
      for (int i = 0; i < 4; ++i) file += char(mask >> 8 * i);
    file += pixels;
    return decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "a.bmp");
  };
  using Samples = std::vector<uint8_t>;
  const Samples six = read(16, {0xF800, 0x7E0, 0x1F}, std::string("\x64\x21", 2)).samples.pixels;  // 4, 11, 4
  EXPECT_EQ(six, (Samples{32, 44, 32}));
  const std::array<uint32_t, 4> bgra = {0xFF0000, 0xFF00, 0xFF, 0xFF000000};
  EXPECT_EQ(read(32, bgra, std::string("\1\2\3\0", 4)).samples.pixels, (Samples{3, 2, 1, 0}));
  EXPECT_EQ(read(32, bgra, std::string("\1\2\3\x04", 4)).samples.pixels, (Samples{3, 2, 1, 4}));
  expect_error(Exit::data, "colour masks that are not known; convert it", [&] {
    read(32, {0x3FF00000, 0xFFC00, 0x3FF, 0}, "abcd");
  });
}

// Files made with Pillow 10.4; upright.safetensors: what its ImageOps.exif_transpose makes of them, as RGB.
TEST(ExifGolden, OrientationsAreTurnedLikePillow) {
  NEEDS_GOLDEN("exif")
  std::map<int, int> seen;
  for (const auto& [name, expected] : load_safetensors(golden("exif/upright.safetensors"))) {
    const Picture picture = read_picture(golden("exif/" + name));
    const int orientation = picture.orientation;
    if (std::isdigit(static_cast<unsigned char>(name[0]))) {
      EXPECT_EQ(orientation, name[0] - '0') << name;
    }
    EXPECT_EQ(to_rgb(turned(picture, orientation)), image_of(expected)) << name;
    ++seen[orientation];
  }
  for (int orientation = 1; orientation <= 8; ++orientation) EXPECT_GE(seen[orientation], 3) << orientation;
}

TEST(Image, FormatsThatAreNotReadAreNamed) {
  const auto refused = [](const std::string& bytes) -> std::string {
    try {
      decode_picture({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "a");
    } catch (const Error& error) {
      EXPECT_EQ(error.code, Exit::data);
      return error.what();
    }
    return "read";
  };
  const auto zeros = [](const char* text, size_t size) { return std::string(text, size) + std::string(64, '\0'); };
  const std::pair<std::string, const char*> cases[] = {
      {zeros("\0\0\0\x1C"
             "ftypavif",
             12),
       "a: is an AVIF picture, which is not read; convert it to PNG or JPEG"},
      {zeros("\0\0\0\x18"
             "ftypheic",
             12),
       "is a HEIC picture"},
      {zeros("II*\0", 4), "is a TIFF picture"},
      {zeros("MM\0*", 4), "is a TIFF picture"},
      {zeros("\0\0\0\x0CjP  \r\n\x87\n", 12), "is a JPEG 2000 picture"},
      {zeros("\xFF\x0A", 2), "is a JPEG XL picture"},
      {zeros("qoif", 4), "is a QOI picture"},
      {zeros("\0\0\1\0\1\0", 6), "is an icon (ICO)"},
      {zeros("\0\0\2\0\1\0", 6), "is a cursor (CUR)"},
      {"8BPS", "is a Photoshop file (PSD)"},
      {"%PDF-1.7", "is a PDF document"},
      {"<?xml version=\"1.0\"?>\n<svg xmlns=\"x\"/>", "is an SVG drawing"},
      {"\xFF\xD8\xFF\xC3" + zeros("\0\x0B\x08\0\1\0\1\1\1\x11\0", 11), "a: lossless (SOF3) JPEG is not read; convert"},
      {"\xFF\xD8\xFF\xC1" + zeros("\0\x0B\x0C\0\1\0\1\1\1\x11\0\xFF\xDA\0\x08\1\1\0\0\x3F\0", 21),
       "a: 12-bit JPEG is not read; convert"},
      {"hello", "a: is a text that begins with \"hello\", expected a picture; has its download failed?"},
      {"<html>\n<body>", "is a text that begins with \"<html> <body>\""},
      {"\x01\x02", "is not a picture of a known format; expected PNG, JPEG"},
  };
  for (const auto& [bytes, part] : cases) EXPECT_NE(refused(bytes).find(part), std::string::npos) << refused(bytes);
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
