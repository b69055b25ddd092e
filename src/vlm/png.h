// PNG through libpng; see image.h for what the callers of decode_image and write_png may rely on.
#pragma once
#include "vlm/image.h"

namespace vlm2vec {

bool is_png(std::span<const uint8_t> bytes);
Image decode_png(std::span<const uint8_t> bytes, const std::string& name);
std::string encode_png(const Image& image);

}  // namespace vlm2vec
