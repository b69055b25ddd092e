// The emulator's tensor cores, accesses of many bytes at once, and atomic ones.
#include <algorithm>
#include <atomic>
#include <bit>

#include "io/error.h"
#include "kernels/watcher.h"

namespace vlm2vec::emulator {

// Lane l gives the address of row l % 8 of matrix l / 8. Its register m gets the number (l / 4, 2 (l % 4)) of matrix m
// and the next one, or those of the transpose.
void load_matrices(uint32_t (&to)[4], const void* row, bool transposed, Site site) {
  if (uintptr_t(row) % 16) stop("ldmatrix with an address that is no multiple of 16", site);
  if (watcher) watcher->access(row, 16, false, site);
  struct Row {
    uint16_t numbers[8];
  };
  Slot mine;
  std::memcpy(&mine, row, sizeof(Row));
  Slot* rows = meet_warp(mine, transposed ? "ldmatrix.trans" : "ldmatrix", site);
  const int major = self->lane() / 4, minor = 2 * (self->lane() % 4);
  for (int m = 0; m < 4; ++m) {
    const auto number = [&](int r, int c) -> uint32_t { return rows[8 * m + r].as<Row>().numbers[c]; };
    to[m] = transposed ? number(minor, major) | number(minor + 1, major) << 16
                       : number(major, minor) | number(major, minor + 1) << 16;
  }
}

namespace {

struct Operands {
  uint32_t a[4], b[2];
  float c[4];
};

// With g = l / 4 and t = l % 4, lane l holds in a[i] row g + 8 (i % 2), columns 2t + 8 (i / 2) and the next; in b[i]
// rows 2t + 8i and the next of column g; in c[i] row g + 8 (i / 2), column 2t + i % 2.
void multiply_fragments(Slot* lanes) {
  float a[16][16], b[16][8], c[16][8];
  const auto half = [](uint32_t pair, int which) { return std::bit_cast<float>(which ? pair & ~0xFFFFu : pair << 16); };
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const Operands& o = lanes[lane].as<Operands>();
    for (int i = 0; i < 4; ++i) {
      for (int e = 0; e < 2; ++e) a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + e] = half(o.a[i], e);
      c[g + 8 * (i / 2)][2 * t + i % 2] = o.c[i];
    }
    for (int i = 0; i < 2; ++i)
      for (int e = 0; e < 2; ++e) b[2 * t + 8 * i + e][g] = half(o.b[i], e);
  }
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n) c[m][n] += a[m][k] * b[k][n];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) lanes[lane].as<Operands>().c[i] = c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
}

}  // namespace

namespace {
void begin_at_once(const void* memory, unsigned bytes, bool write, Site site) {
  if (uintptr_t(memory) % bytes)
    stop(sentence("an access of ", bytes, " bytes has an address that is no multiple of ", bytes), site);
  if (bytes == 16) ++wide_accesses;
  if (watcher) watcher->access(memory, bytes, write, site);
}
}  // namespace

void read_at_once(void* registers, const void* memory, unsigned bytes, Site site) {
  begin_at_once(memory, bytes, false, site);
  std::memcpy(registers, memory, bytes);
}
void write_at_once(void* memory, const void* registers, unsigned bytes, Site site) {
  begin_at_once(memory, bytes, true, site);
  std::memcpy(memory, registers, bytes);
}

void add_atomically(float* memory, float x, Site site) {
  if (uintptr_t(memory) % sizeof x) stop("atomicAdd with an address that is no multiple of 4", site);
  if (watcher) watcher->add_atomically(memory, sizeof x, site);
  std::atomic_ref(*memory).fetch_add(x, std::memory_order_relaxed);
}

void multiply_matrices(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  Slot mine;
  auto& operands = mine.as<Operands>();
  std::ranges::copy(a, operands.a), std::ranges::copy(b, operands.b), std::ranges::copy(c, operands.c);
  Slot* lanes = meet_warp(mine, "mma", site, multiply_fragments);
  std::ranges::copy(lanes[self->lane()].as<Operands>().c, c);
  if (self->lane() == 0) ++matrix_products;
  if (watcher) watcher->multiply(site);
}

}  // namespace vlm2vec::emulator
