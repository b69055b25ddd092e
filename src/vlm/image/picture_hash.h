// Two hashes of a picture's content: equal pixels, and pictures that look alike.
#pragma once
#include <bit>
#include <optional>

#include "io/sha256.h"
#include "vlm/image/image.h"

namespace vlm2vec {

// Hashes size and RGB bytes: equal exactly for equal pixels, whatever the file's format.
Digest pixel_digest(const Image& rgb);

// The perceptual hash pHash (Zauner 2010): gray, reduced to 32x32, cosine transform, the 64 coefficients of frequencies
// 1 to 8 in each direction; bit 8 v + u is set where coefficient (v+1, u+1) is above their median. Compression, scale
// and brightness move few bits; unrelated pictures differ in about 32. Returns nothing for pictures without structure
// (one colour), which would all look alike.
std::optional<uint64_t> perceptual_hash(const Image& rgb);

inline int hamming(uint64_t a, uint64_t b) { return std::popcount(a ^ b); }

}  // namespace vlm2vec
