// One decoder per format, each in a file of its name; decode_picture in image.h says what they promise.
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

// Returns the samples of a BMP, PNM or TGA file made of `header` and `pixels`; no pixel may be missing.
Image decode_with_stb(std::string header, Bytes pixels, int channels);

// Returns EXIF's orientation, 1 to 8, from "Exif\0\0II*\0…" or the same without the first six bytes; 1: none is stored.
int orientation_of(Bytes exif);

// Returns the name of a format that is not read, "an AVIF picture"; empty: an unknown format.
std::string unread_format(Bytes bytes);

// Must be called before pixels are allocated. Throws Exit::data for a side of 0 and for more pixels than Pillow takes.
void check_size(uint64_t width, uint64_t height, const std::string& name);

inline std::string bytes_follow(size_t count) {
  return std::to_string(count) + (count == 1 ? " byte follows" : " bytes follow") + " the end of the picture";
}

}  // namespace vlm2vec
