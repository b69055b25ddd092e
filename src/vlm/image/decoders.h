// One decoder a format, each in a file of its name; see decode_picture in vlm/image.h for what they promise.
#pragma once
#include "vlm/image.h"

namespace vlm2vec {

using Bytes = std::span<const uint8_t>;

Picture decode_png(Bytes bytes, const std::string& name);
Picture decode_jpeg(Bytes bytes, const std::string& name);
Picture decode_gif(Bytes bytes, const std::string& name);
Picture decode_bmp(Bytes bytes, const std::string& name);
Picture decode_webp(Bytes bytes, const std::string& name);
Picture decode_pnm(Bytes bytes, const std::string& name);
std::string encode_png(const Image& image);

// For every decoder, before it takes memory for pixels: no side is 0, and there are not more of them than Pillow takes.
void check_size(uint64_t width, uint64_t height, const std::string& name);

inline std::string bytes_follow(size_t count) {
  return std::to_string(count) + (count == 1 ? " byte follows" : " bytes follow") + " the end of the picture";
}

}  // namespace vlm2vec
