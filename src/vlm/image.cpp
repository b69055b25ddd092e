// Which decoder reads a file is decided by its first bytes, never by its name.
#include "vlm/image.h"

#include <cstring>

#include "tensor/error.h"
#include "tensor/io/files.h"
#include "vlm/png.h"

namespace vlm2vec {
namespace {

// Formats that are recognised, so that the error message can name them.
const char* other_format(std::span<const uint8_t> bytes) {
  const auto has = [&](std::string_view magic, size_t at = 0) {
    return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
  };
  if (has("\xFF\xD8\xFF")) return "a JPEG";
  if (has("GIF8")) return "a GIF";
  if (has("RIFF") && has("WEBP", 8)) return "a WebP";
  if (has("BM")) return "a BMP";
  if (has("II*") || has("MM")) return "a TIFF";
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6') return "a PNM";
  return nullptr;
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  if (is_png(bytes)) return decode_png(bytes, name);
  if (bytes.empty()) fail(Exit::data, name, ": is empty; expected a picture");
  if (const char* format = other_format(bytes))
    fail(Exit::data, name, ": is ", format, "; this build reads PNG, so convert it first");
  fail(Exit::data, name, ": is not a picture of a known format; this build reads PNG");
}

Image read_image(const std::filesystem::path& path) {
  return decode_image(MappedFile::open(path)->bytes(), path.string());
}

Image to_rgb(const Image& image) {
  if (image.channels == 3) return image;
  Image rgb(image.width, image.height, 3);
  const int step = image.channels, green = step < 3 ? 0 : 1, blue = step < 3 ? 0 : 2;
  const uint8_t* from = image.pixels.data();
  for (size_t i = 0; i < rgb.pixels.size(); i += 3, from += step) {
    rgb.pixels[i] = from[0];
    rgb.pixels[i + 1] = from[green];
    rgb.pixels[i + 2] = from[blue];
  }
  return rgb;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_text(path, encode_png(image), Sync::with_folder);
}

}  // namespace vlm2vec
