// The message is cut into blocks of 64 bytes; each block stirs eight 32-bit words through 64 rounds. The constants are
// the leading fractional bits of the square and cube roots of the first primes, computed here instead of listed.
#include "tensor/io/sha256.h"

#include <bit>

namespace vlm2vec {
namespace {

struct Constants {
  std::array<uint32_t, 8> start;   // square roots of the first 8 primes
  std::array<uint32_t, 64> round;  // cube roots of the first 64 primes
};

// The 32 leading fractional bits of the n-th root of p: the largest r with r^n <= p * 2^(32 n), its low word.
uint32_t root_fraction(uint32_t p, int n) {
  uint64_t root = 0;
  for (int bit = 35; bit >= 0; --bit) {  // the roots are below 8: 3 + 32 bits
    const unsigned __int128 r = root | uint64_t(1) << bit;
    const unsigned __int128 power = n == 2 ? r * r : r * r * r;
    if (power <= static_cast<unsigned __int128>(p) << (32 * n)) root = uint64_t(r);
  }
  return uint32_t(root);
}

Constants make_constants() {
  Constants c;
  int count = 0;
  for (uint32_t p = 2; count < 64; ++p) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= p; ++d) prime &= p % d != 0;
    if (!prime) continue;
    if (count < 8) c.start[count] = root_fraction(p, 2);
    c.round[count++] = root_fraction(p, 3);
  }
  return c;
}

void stir(std::array<uint32_t, 8>& h, const uint8_t* block, const std::array<uint32_t, 64>& k) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = uint32_t(block[4 * i]) << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, last] = h;
  for (int i = 0; i < 64; ++i) {
    const uint32_t t1 =
        last + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
    const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t sum[8] = {a, b, c, d, e, f, g, last};
  for (int i = 0; i < 8; ++i) h[i] += sum[i];
}

}  // namespace

Digest sha256(std::string_view bytes) {
  static const Constants constants = make_constants();
  std::array<uint32_t, 8> h = constants.start;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t at = 0;
  for (; bytes.size() - at >= 64; at += 64) stir(h, data + at, constants.round);

  uint8_t tail[128] = {};  // what is left, a one bit, zeros, the length in bits
  const size_t left = bytes.size() - at, padded = left < 56 ? 64 : 128;
  for (size_t i = 0; i < left; ++i) tail[i] = data[at + i];
  tail[left] = 0x80;
  for (int i = 0; i < 8; ++i) tail[padded - 1 - i] = uint8_t(uint64_t(bytes.size()) * 8 >> 8 * i);
  for (size_t i = 0; i < padded; i += 64) stir(h, tail + i, constants.round);

  Digest digest;
  for (int i = 0; i < 32; ++i) digest[i] = uint8_t(h[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) text += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
  return text;
}

}  // namespace vlm2vec
