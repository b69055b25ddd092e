// One decoder a format, each in a file of its name; see decode_picture in vlm/image.h for what they promise.
#pragma once
#include "vlm/image/image.h"

namespace vlm2vec {

using Bytes = std::span<const uint8_t>;

Picture decode_png(Bytes bytes, const std::string& name);
Picture decode_jpeg(Bytes bytes, const std::string& name);
Picture decode_gif(Bytes bytes, const std::string& name);
Picture decode_bmp(Bytes bytes, const std::string& name);
Picture decode_webp(Bytes bytes, const std::string& name);
Picture decode_pnm(Bytes bytes, const std::string& name);
Picture decode_tga(Bytes bytes, const std::string& name);
bool is_tga(Bytes bytes);
std::string encode_png(const Image& image);

// The samples of a BMP, PNM or TGA file that consists of `header` and of `pixels`, none of which may be missing.
Image decode_with_stb(std::string header, Bytes pixels, int channels);

// EXIF's orientation, 1 to 8, from "Exif\0\0II*\0…" or the same without the first six bytes; 1 if there is none.
int orientation_of(Bytes exif);

// "an AVIF picture", of what is not read; empty if the bytes are of no format that is known by name.
std::string unread_format(Bytes bytes);

// For every decoder, before it takes memory for pixels: no side is 0, and there are not more of them than Pillow takes.
void check_size(uint64_t width, uint64_t height, const std::string& name);

inline std::string bytes_follow(size_t count) {
  return std::to_string(count) + (count == 1 ? " byte follows" : " bytes follow") + " the end of the picture";
}

}  // namespace vlm2vec
