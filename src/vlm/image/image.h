// Pictures: decoding, resizing and converting them byte for byte as Pillow (before 13) does, writing PNG.
//   read_picture -> resize (in the file's own mode: VLM2Vec V1) -> to_rgb -> resize (RGB: VLM2Vec V2)
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "vlm/image/picture_source.h"

namespace vlm2vec {

constexpr int64_t most_pixels = 178'956'970;             // Pillow refuses larger pictures as decompression bombs
constexpr int64_t most_picture_bytes = 4 * most_pixels;  // limit of a member of an archive

struct Size {
  int width, height;
  bool operator==(const Size&) const = default;
};

// round(a b / 255) without a division, exact for bytes.
inline int product_of_bytes(int a, int b) {
  const int t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

// Row-major 8-bit samples, [height, width, channels]; channels: 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA (straight alpha).
struct Image {
  Image() = default;
  Image(int width, int height, int channels)
      : width(width), height(height), channels(channels), pixels(size_t(width) * height * channels) {}

  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;
  Size source{};  // if it was prepared in tiles (anyres.h): the size before
  Size size() const { return {width, height}; }
  const uint8_t* at(int y, int x) const { return pixels.data() + (size_t(y) * width + x) * channels; }
  uint8_t* at(int y, int x) { return pixels.data() + (size_t(y) * width + x) * channels; }
  bool operator==(const Image&) const = default;
};

// Pillow's modes 1, L, LA, P, RGB, RGBA, CMYK, I;16 and I, as far as they bear on resizing and converting.
enum class Mode { bilevel, gray, gray_alpha, palette, rgb, rgba, cmyk, gray16, gray32 };

// A file's picture in its own mode: samples that are not colours yet.
struct Picture {
  Mode mode = Mode::rgb;
  Image samples;  // bilevel: 0 or 255; palette: numbers of entries; cmyk: 255 is full ink; gray16, gray32: size only
  std::vector<uint8_t> palette;  // palette: [256, RGBA]
  std::vector<int32_t> wide;     // gray16 (0 to 65535), gray32: [height, width]
  std::string flaw;              // the fault of a file that could be read all the same; empty: none
  int orientation = 1;           // EXIF's: 1 upright, 2 to 8 mirrored or turned; of PNG, JPEG and WebP
};

// Decodes PNG, JPEG, GIF and WebP (their first frame), BMP, TGA, PPM, PGM and PBM. The bytes decide the format, not the
// name. EXIF orientation (reported, not applied), gamma, colour profiles and transparent colours change no sample.
// 16-bit samples keep their high byte, except in gray pictures. Damaged files that Pillow opens give the same samples
// and a flaw. Limits are checked before memory is taken. Throws Exit::data, naming the file by `name`, and its fault.
Picture decode_picture(std::span<const uint8_t> bytes, const std::string& name);
// The same for a file; a name that promises another format is a flaw, too.
Picture read_picture(const PictureSource& source);

// As Pillow's ImageOps.exif_transpose for this orientation.
Picture turned(Picture picture, int orientation);

// As Pillow's convert("RGB"): gray is repeated, wide gray clipped at 255, alpha dropped without compositing.
Image to_rgb(Picture picture);
Image to_rgba(Picture picture);  // 255 where there is no alpha
inline Image read_rgb(const PictureSource& source) { return to_rgb(read_picture(source)); }

enum class Filter { nearest, box, bilinear, bicubic, lanczos };
Filter parse_filter(const std::string& name);  // throws Exit::usage

// Antialiased, horizontal pass first, 8-bit between the two passes. Pictures with alpha are resized premultiplied and
// divided again.
Image resize(const Image& image, Size size, Filter filter);
// Resizes in the picture's own mode: palette and bilevel pictures with nearest, wide gray in double precision.
Picture resize(const Picture& picture, Size size, Filter filter);

// Equal pictures give equal files. The file appears whole or not at all: a temporary one beside it is renamed.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace vlm2vec
