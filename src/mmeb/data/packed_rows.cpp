#include "mmeb/data/packed_rows.h"

#include <algorithm>
#include <cstring>

#include "io/error.h"

namespace vlm2vec {
namespace {

constexpr size_t kBlock = 1 << 20, kBlocks = 1 << 12;

std::string join(const std::vector<std::string>& names, std::string_view between) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) text.append(i ? between : "").append(names[i]);
  return text;
}

std::vector<std::string> split(std::string_view names, char between) {
  std::vector<std::string> all;
  for (size_t end; !names.empty(); names.remove_prefix(std::min(names.size(), end + 1)))
    all.emplace_back(names.substr(0, end = std::min(names.find(between), names.size())));
  return all;
}

constexpr std::string_view kBetween("\0", 1);  // never in a path

}  // namespace

std::string Side::image() const { return join(images, ", "); }

void PackedRows::add(const TrainRow& row) {
  CHECK(!row.positives.empty(), "a training row without a positive");
  rows_.push_back({uint32_t(sides_.size()), uint32_t(row.positives.size())});
  const auto add_side = [&](const Side& side) {
    sides_.push_back({store(side.text), store(join(side.images, kBetween))});
  };
  add_side(row.query);
  for (const Side& side : row.positives) add_side(side);
  for (const Side& side : row.negatives) add_side(side);
}

void PackedRows::add_faulty(const std::string& fault) {
  faults_[rows_.size()] = fault;
  add({{}, {Side()}, {}});
}

std::string PackedRows::fault(size_t i) const {
  const auto found = faults_.find(i);
  return found == faults_.end() ? "" : found->second;
}

void PackedRows::finish() {
  known_ = {};
  sides_.shrink_to_fit(), rows_.shrink_to_fit();
}

uint32_t PackedRows::store(const std::string& text) {
  const uint32_t length = uint32_t(text.size());
  const size_t bytes = sizeof length + text.size();
  if (blocks_.empty() || blocks_.back().size() + bytes > kBlock) {  // a longer text gets its own block
    if (blocks_.size() == kBlocks || text.size() > UINT32_MAX)
      fail(Exit::resources, "the set has more than 4 GB of texts; split it into several");
    blocks_.emplace_back().reserve(std::max(bytes, kBlock));
  }
  std::string& block = blocks_.back();
  const uint32_t at = uint32_t((blocks_.size() - 1) * kBlock + block.size());
  const auto [known, is_new] = known_.try_emplace(std::hash<std::string>()(text), at);
  if (!is_new && this->text(known->second) == text) return known->second;
  block.append(reinterpret_cast<const char*>(&length), sizeof length).append(text);
  return at;  // another text with the same hash is stored each time
}

std::string_view PackedRows::text(uint32_t at) const {
  const char* place = blocks_[at / kBlock].data() + at % kBlock;
  uint32_t length;
  std::memcpy(&length, place, sizeof length);
  return {place + sizeof length, length};
}

size_t PackedRows::negatives() const {
  size_t others = 0;  // queries and positives
  for (const StoredRow& row : rows_) others += 1 + row.positives;
  return sides_.size() - others;
}

int64_t PackedRows::bytes() const {
  size_t bytes = sides_.size() * sizeof sides_[0] + rows_.size() * sizeof rows_[0];
  for (const std::string& block : blocks_) bytes += block.size();
  return int64_t(bytes);
}

TrainRow PackedRows::operator[](size_t i) const {
  const auto side = [&](size_t s) {
    return Side{std::string(text(sides_[s].text)), split(text(sides_[s].images), kBetween[0])};
  };
  const size_t first = rows_[i].first_side, negatives = first + 1 + rows_[i].positives;
  TrainRow row{side(first), {}, {}};
  for (size_t s = first + 1; s < negatives; ++s) row.positives.push_back(side(s));
  for (size_t s = negatives; s < end_side(i); ++s) row.negatives.push_back(side(s));
  return row;
}

void PackedRows::each_picture(const std::function<void(const std::string&, size_t)>& f) const {
  std::vector<bool> seen(blocks_.size() * kBlock);
  for (size_t row = 0; row < rows_.size(); ++row)
    for (size_t s = rows_[row].first_side; s < end_side(row); ++s) {
      const uint32_t at = sides_[s].images;
      if (seen[at]) continue;
      seen[at] = true;
      for (const std::string& picture : split(text(at), kBetween[0])) f(picture, row);
    }
}

}  // namespace vlm2vec
