#include "accesses.h"

#include <algorithm>
#include <tuple>

namespace vlm2vec::trace {
namespace {

constexpr uintptr_t sector = 32, word = 4, banks = 32;

uint64_t distinct(std::vector<uintptr_t>& all) {
  std::ranges::sort(all);
  return uint64_t(std::unique(all.begin(), all.end()) - all.begin());
}

// Adds the numbers of the units of the given size that an access touches.
void add_units(std::vector<uintptr_t>& units, uintptr_t size, uintptr_t memory, size_t bytes) {
  for (uintptr_t unit = memory / size; unit <= (memory + bytes - 1) / size; ++unit) units.push_back(unit);
}

}  // namespace

const char* name_of(Kind kind) {
  constexpr const char* names[] = {"global read", "global write", "shared read", "shared write"};
  return names[int(kind)];
}

Cost& Cost::operator+=(const Cost& other) {
  requests += other.requests, bytes += other.bytes, units += other.units, ideal += other.ideal;
  return *this;
}

bool Accesses::Access::is_behind(const Access& other) const {
  return std::tuple(order, place, kind) < std::tuple(other.order, other.place, other.kind);
}

void Accesses::begin_block(size_t threads) {
  meet_all();
  of_thread_.resize(threads);
}

void Accesses::add(Place place, uintptr_t order, Kind kind, unsigned thread, uintptr_t memory, size_t bytes) {
  of_thread_[thread].push_back({order, place, kind, memory, bytes});
}

void Accesses::meet_all() {
  for (unsigned warp = 0; 32 * warp < of_thread_.size(); ++warp) meet(warp);
}

void Accesses::meet(unsigned warp) {
  const unsigned lanes = unsigned(std::min<size_t>(32, of_thread_.size() - 32 * warp));
  std::vector<Access>* const of_lane = &of_thread_[32 * warp];
  size_t done[32] = {};
  for (Request request;; request.clear()) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      if (done[lane] == of_lane[lane].size()) continue;
      const Access& next = of_lane[lane][done[lane]];
      if (!request.empty() && next.is_behind(*request[0].second)) request.clear();
      if (request.empty() || next.of_one_instruction(*request[0].second)) request.emplace_back(lane, &next);
    }
    if (request.empty()) break;
    const Access& first = *request[0].second;
    const size_t number = 4 * size_t(first.place) + size_t(first.kind);
    if (costs_.size() <= number) costs_.resize(number + 1);
    Cost& cost = costs_[number];
    ++cost.requests;
    for (const auto& [lane, access] : request) ++done[lane], cost.bytes += access->bytes;
    if (is_shared(first.kind)) add_wavefronts(request, cost);
    else add_sectors(request, cost);
  }
  for (unsigned lane = 0; lane < lanes; ++lane) of_lane[lane].clear();
}

void Accesses::add_sectors(const Request& request, Cost& cost) {
  std::vector<uintptr_t> sectors, bytes;
  for (const auto& [lane, access] : request) {
    add_units(sectors, sector, access->memory, access->bytes);
    add_units(bytes, 1, access->memory, access->bytes);
  }
  cost.units += distinct(sectors), cost.ideal += (distinct(bytes) + sector - 1) / sector;
}

void Accesses::add_wavefronts(const Request& request, Cost& cost) {
  size_t widest = 1;
  for (const auto& [lane, access] : request) widest = std::max(widest, access->bytes);
  const unsigned together = widest >= 16 ? 8 : widest == 8 ? 16 : 32;
  for (unsigned first = 0; first < 32; first += together) {
    std::vector<uintptr_t> words;
    for (const auto& [lane, access] : request)
      if (lane >= first && lane < first + together) add_units(words, word, access->memory, access->bytes);
    if (words.empty()) continue;
    words.resize(distinct(words));
    uint64_t of_bank[banks] = {};
    for (uintptr_t w : words) ++of_bank[w % banks];
    cost.units += *std::ranges::max_element(of_bank), ++cost.ideal;
  }
}

std::map<std::pair<Place, Kind>, Cost> Accesses::costs() const {
  std::map<std::pair<Place, Kind>, Cost> costs;
  for (size_t number = 0; number < costs_.size(); ++number)
    if (costs_[number].requests) costs[{Place(number / 4), Kind(number % 4)}] = costs_[number];
  return costs;
}

}  // namespace vlm2vec::trace
