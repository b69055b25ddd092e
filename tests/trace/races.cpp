#include "races.h"

#include <algorithm>
#include <tuple>

namespace vlm2vec::trace {

bool Races::Found::operator<(const Found& other) const {
  return std::tuple(std::string_view(what), first, second) <
         std::tuple(std::string_view(other.what), other.first, other.second);
}

void Races::begin_launch(size_t threads) {
  first_block_of_launch_ = block_ + 1;
  warp_time_.resize(threads), knows_.resize(threads);
}

void Races::begin_block() {
  ++block_, block_time_ = 0;
  std::ranges::fill(warp_time_, 1);
  std::ranges::fill(knows_, std::array<uint32_t, 32>{});
}

// Each of the lanes now knows what all of them knew and did.
void Races::pass_warp_barrier(unsigned warp, uint32_t lanes) {
  std::array<uint32_t, 32> all{};
  const auto each = [&](auto f) {
    for (unsigned lane = 0; lane < 32 && 32 * warp + lane < warp_time_.size(); ++lane)
      if (lanes >> lane & 1) f(lane, 32 * warp + lane);
  };
  each([&](unsigned lane, unsigned thread) {
    for (size_t other = 0; other < 32; ++other) all[other] = std::max(all[other], knows_[thread][other]);
    all[lane] = warp_time_[thread]++;
  });
  each([&](unsigned, unsigned thread) { knows_[thread] = all; });
}

Races::Cell& Races::cell(uintptr_t byte) {
  if (!last_cells_ || byte / page != last_page_) {
    auto& cells = pages_[byte / page];
    if (!cells) cells = std::make_unique<std::array<Cell, page>>();
    last_page_ = byte / page, last_cells_ = cells.get();
  }
  return (*last_cells_)[byte % page];
}

Mark Races::mark(unsigned thread, Place place) const {
  return {block_, uint16_t(thread), false, block_time_, warp_time_[thread], place};
}

bool Races::ordered(const Mark& earlier, const Mark& now, bool shared) const {
  if (earlier.atomic && now.atomic) return true;
  if (earlier.block != now.block) return shared || earlier.block < first_block_of_launch_;  // a block has its own
  if (earlier.copying) return false;
  if (earlier.thread == now.thread || earlier.block_time < now.block_time) return true;
  return earlier.thread / 32 == now.thread / 32 && earlier.warp_time <= knows_[now.thread][earlier.thread % 32];
}

// The earlier access that this one races with, if any.
const Mark* Races::clash(Cell& cell, bool write, bool shared, const Mark& now, const char*& what) const {
  if (!ordered(cell.write, now, shared)) {
    what = cell.write.copying ? "touched before the wait" : write ? "write, then write" : "write, then read";
    return &cell.write;
  }
  if (!write) return nullptr;
  what = "read, then write";
  if (!ordered(cell.read, now, shared)) return &cell.read;
  return ordered(cell.other_read, now, shared) ? nullptr : &cell.other_read;
}

// How far from `now` an earlier reader stands, whom a later write might clash with: 0 if a barrier lies between.
int Races::distance(const Mark& earlier, const Mark& now, bool shared) const {
  if (ordered(earlier, now, shared)) return 0;
  return earlier.block != now.block ? 3 : earlier.thread / 32 != now.thread / 32 ? 2 : 1;
}

void Races::keep_reader(Cell& cell, const Mark& now, bool shared) const {
  if (distance(cell.read, now, shared) >= distance(cell.other_read, now, shared)) cell.other_read = cell.read;
  cell.read = now;
}

void Races::access(uintptr_t memory, size_t bytes, bool write, bool shared, unsigned thread, Place place,
                   bool atomic) {
  Mark now = mark(thread, place);
  now.atomic = atomic;
  bool told = false;
  for (uintptr_t byte = memory; byte < memory + bytes; ++byte) {
    Cell& at = cell(byte);
    const char* what = "";
    if (const Mark* earlier = told ? nullptr : clash(at, write, shared, now, what))
      ++found_[{what, earlier->place, place}], told = true;
    if (write) at.write = now, at.read = at.other_read = {};
    else keep_reader(at, now, shared);
  }
}

void Races::begin_copy(uintptr_t shared, unsigned bytes, unsigned thread, Place place) {
  access(shared, bytes, true, true, thread, place);
  for (uintptr_t byte = shared; byte < shared + bytes; ++byte) cell(byte).write.copying = true;
}

void Races::end_copy(uintptr_t shared, unsigned bytes, unsigned thread) {
  for (uintptr_t byte = shared; byte < shared + bytes; ++byte) {
    Mark& write = cell(byte).write;
    write = mark(thread, write.place);
  }
}

}  // namespace vlm2vec::trace
