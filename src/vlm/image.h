// Pictures as bytes: decoding, Pillow-exact resizing, writing.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace vlm2vec {

// Row-major 8-bit samples, [height, width, channels]; channels: 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA (straight alpha).
struct Image {
  Image() = default;
  Image(int width, int height, int channels)
      : width(width), height(height), channels(channels), pixels(size_t(width) * height * channels) {}

  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;
  const uint8_t* at(int y, int x) const { return pixels.data() + (size_t(y) * width + x) * channels; }
  uint8_t* at(int y, int x) { return pixels.data() + (size_t(y) * width + x) * channels; }
  bool operator==(const Image&) const = default;
};

// Decodes a picture with its own channels; a palette is expanded to RGB, or to RGBA where it has transparency. As in
// Pillow, a transparent colour of a gray or RGB picture adds no alpha, 16-bit gray is clipped at 255 and other 16-bit
// samples keep their high byte. `name` stands in error messages. Errors: Exit::data, naming the file and its fault.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);
Image read_image(const std::filesystem::path& path);

// As Pillow's convert("RGB"): gray is repeated, alpha is dropped without compositing.
Image to_rgb(const Image& image);

// As Pillow (before 13) resizes with Image.BICUBIC: antialiased, a = -0.5, 8-bit between the two passes, horizontal
// pass first; pictures with alpha are resized premultiplied and divided again.
Image resize_bicubic(const Image& image, int width, int height);

// Equal pictures give equal files. The file appears whole or not at all: a temporary one beside it is renamed.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace vlm2vec
