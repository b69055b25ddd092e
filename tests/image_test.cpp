// Decoding and resizing against Pillow: no byte may differ.
#include "vlm/image.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "temporary_folder.h"
#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"

namespace vlm2vec {
namespace {

// The sentence that a refused file gives; empty if it is read.
std::string refusal(const std::filesystem::path& file) {
  try {
    read_image(golden(file));
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, Exit::data) << file;
    return error.what();
  }
}

Image picture(const Tensor& bytes) {  // [h, w] or [h, w, channels]
  const int channels = bytes.shape().size() == 3 ? int(bytes.dim(2)) : 1;
  Image image{int(bytes.dim(1)), int(bytes.dim(0)), channels};
  std::copy_n(bytes.data<uint8_t>(), bytes.numel(), image.pixels.data());
  return image;
}

TEST(PngGolden, EveryKindIsDecodedLikePillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors decoded = load_safetensors(golden("pixels/decoded.safetensors"));
  int files = 0;
  for (const auto& entry : read_json(golden("pixels/manifest.json"))) {
    const std::string name = entry["file"];
    if (!cannot_decode(entry["format"]).empty()) continue;
    EXPECT_EQ(to_rgb(read_image(golden("pixels/files/" + name))), picture(decoded.at(name))) << name;
    ++files;
  }
  EXPECT_GE(files, 36);
}

TEST(Png, KeepsItsOwnChannels) {
  const auto channels = [](const std::string& name) { return read_image(golden("pixels/files/" + name)).channels; };
  EXPECT_EQ(channels("png_gray1.png"), 1);
  EXPECT_EQ(channels("png_gray16.png"), 1);
  EXPECT_EQ(channels("png_gray8_trns.png"), 1);
  EXPECT_EQ(channels("png_graya16.png"), 2);
  EXPECT_EQ(channels("png_rgb8_trns.png"), 3);
  EXPECT_EQ(channels("png_pal4.png"), 3);
  EXPECT_EQ(channels("png_pal8_trns_short.png"), 4);
  EXPECT_EQ(channels("png_rgba8.png"), 4);
}

TEST(PngGolden, DamagedFilesAreReadOrRefusedLikePillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors accepted = load_safetensors(golden("pixels/broken.safetensors"));
  int files = 0;
  for (const auto& entry : read_json(golden("pixels/broken.json"))) {
    const std::string name = entry["file"];
    if (!name.starts_with("png_")) continue;
    const std::string why = refusal("pixels/broken/" + name);
    EXPECT_EQ(why.empty(), entry["result"] == "ok") << name << ": " << why;
    if (entry["result"] == "ok")
      EXPECT_EQ(to_rgb(read_image(golden("pixels/broken/" + name))), picture(accepted.at(name))) << name;
    else EXPECT_NE(why.find(name), std::string::npos) << why;
    ++files;
  }
  EXPECT_GE(files, 18);
}

TEST(Image, OtherFilesAreRefusedByName) {
  EXPECT_NE(refusal("pixels/files/jpg_gray.jpg").find("is a JPEG; this build reads PNG"), std::string::npos);
  EXPECT_NE(refusal("pixels/broken/jpg_as.png").find("is a JPEG"), std::string::npos);
  EXPECT_NE(refusal("pixels/broken/html.png").find("not a picture"), std::string::npos);
  EXPECT_NE(refusal("pixels/files"), "");
  EXPECT_NE(refusal("no/such/file.png").find("no/such/file.png"), std::string::npos);
  EXPECT_THROW(decode_image({}, "empty"), Error);
}

TEST(Png, EveryTruncationIsHandled) {
  const std::string whole = read_text(golden("pixels/files/png_interlaced_3x2.png"));
  const auto decode = [&](size_t size) {
    return decode_image({reinterpret_cast<const uint8_t*>(whole.data()), size}, "cut");
  };
  const Image expected = decode(whole.size());
  int refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) try {
      EXPECT_EQ(decode(size), expected) << size;
    } catch (const Error&) {
      ++refused;
    }
  EXPECT_GT(refused, int(whole.size()) / 2);
}

TEST(Png, WrittenFilesReadBackAndAreEqualForEqualPictures) {
  const TemporaryFolder folder("png");
  for (const int channels : {1, 2, 3, 4}) {
    Image image(19, 7, channels);
    for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(i * i + channels);
    const auto first = folder / "a.png", second = folder / "b.png";
    write_png(first, image);
    write_png(second, image);
    EXPECT_EQ(read_image(first), image);
    EXPECT_EQ(read_text(first), read_text(second));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2) << "a temporary file was left";
  EXPECT_THROW(write_png(folder / "missing" / "c.png", Image(1, 1, 1)), Error);
}

TEST(ResizeGolden, BicubicEqualsPillow) {
  NEEDS_GOLDEN("pixels")
  const NamedTensors arrays = load_safetensors(golden("pixels/resize.safetensors"));
  int cases = 0;
  for (const auto& [key, expected_bytes] : arrays) {
    if (!key.ends_with("|BICUBIC")) continue;
    const std::string name = key.substr(0, key.find('|'));
    const Image expected = picture(expected_bytes);
    EXPECT_EQ(resize_bicubic(picture(arrays.at("src/" + name)), expected.width, expected.height), expected) << key;
    ++cases;
  }
  EXPECT_GE(cases, 30);
}

}  // namespace
}  // namespace vlm2vec
