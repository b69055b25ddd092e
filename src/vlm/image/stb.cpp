// stb_image, for formats that have no library of their own. It never sees a file's header: decoders check that and
// write a new one, because stb trusts sizes, offsets, palettes and missing bytes.
#include <algorithm>
#include <memory>
#include <new>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_NO_FAILURE_STRINGS
#define STBI_MAX_DIMENSIONS 178956970  // most_pixels
#include <stb/stb_image.h>

#include "vlm/image/decoders.h"

namespace vlm2vec {

Image decode_with_stb(std::string header, Bytes pixels, int channels) {
  header.append(pixels.begin(), pixels.end());
  int width = 0, height = 0, stored = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> samples(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(header.data()), int(header.size()), &width, &height,
                            &stored, channels),
      stbi_image_free);
  if (!samples) throw std::bad_alloc();  // nothing else can be wrong
  Image image(width, height, channels);
  std::copy_n(samples.get(), image.pixels.size(), image.pixels.data());
  return image;
}

}  // namespace vlm2vec
