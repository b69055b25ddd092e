#include "mmeb/data/data_leaks.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "io/error.h"
#include "io/progress.h"
#include "tensor/parallel.h"
#include "vlm/image/picture_hash.h"

namespace vlm2vec {
namespace {

constexpr size_t kShown = 5;

struct Place {
  const DataSet* set;
  size_t row;
  const char* role;
};
std::string place_in_words(const Place& place) {
  return sentence("row ", place.row + 1, " of ", place.set->name, " (", place.role, ")");
}

struct NamedPicture {
  std::string name;
  Place place;
  Digest digest{};
  std::optional<uint64_t> look = {};
  std::string error = {};
};

// The two sides of a pair, each as the hash of its text and the numbers of its pictures.
struct StoredPair {
  std::array<std::pair<uint64_t, std::vector<size_t>>, 2> sides;
  Place place;
  std::string text;  // for the report
};

// The texts, pairs and pictures of a data set.
struct Content {
  std::unordered_map<std::string, Place> queries, positives;
  std::vector<NamedPicture> pictures;  // by path
  std::vector<StoredPair> pairs;
};

Content content_of(const DataFolder& folder) {
  Content content;
  std::unordered_map<std::string, size_t> numbers;
  const auto numbers_of = [&](const Side& side, const Place& place) {
    std::vector<size_t> of_side;
    for (const std::string& name : side.images) {
      const auto [at, is_new] = numbers.emplace(name, content.pictures.size());
      if (is_new) content.pictures.push_back({name, place});
      of_side.push_back(at->second);
    }
    return of_side;
  };
  for (const DataSet& set : folder.sets) {
    const std::vector<TrainRow> rows = read_data_rows(set, folder.pictures);
    for (size_t i = 0; i < rows.size(); ++i) {
      const Side& query = rows[i].query;
      const Place at_query{&set, i, "query"}, at_positive{&set, i, "positive"};
      if (!query.text.empty()) content.queries.emplace(query.text, at_query);
      for (const Side& side : rows[i].positives) {
        if (!side.text.empty()) content.positives.emplace(side.text, at_positive);
        const std::hash<std::string> hash;
        content.pairs.push_back(
            {{{{hash(query.text), numbers_of(query, at_query)}, {hash(side.text), numbers_of(side, at_positive)}}},
             {&set, i, "pair"},
             one_line(query.text, 60) + " -> " + one_line(side.text, 60)});
      }
      for (const Side& side : rows[i].negatives) numbers_of(side, {&set, i, set.test ? "candidate" : "negative"});
    }
  }
  return content;
}

void hash_pictures(std::vector<NamedPicture>& pictures, const Pictures& where, const char* title, bool quiet) {
  Progress progress(title, int64_t(pictures.size()), quiet);
  constexpr int64_t kBlock = 256;  // pictures between two lines of progress
  for (int64_t done = 0; done < int64_t(pictures.size()); done += kBlock) {
    const int64_t count = std::min(kBlock, int64_t(pictures.size()) - done);
    parallel_each(size_t(count), [&](size_t i) {
      NamedPicture& picture = pictures[size_t(done) + i];
      picture.error = data_fault([&] {
        const PictureSource source = where.locate(picture.name);
        if (!source.is_file()) picture.name = source.name();
        const Image rgb = read_rgb(source);
        picture.digest = pixel_digest(rgb), picture.look = perceptual_hash(rgb);
      });
    });
    progress.update(done + count);
  }
}

void add_leak(LeakKind& kind, const std::string& what, const Place& a, const Place& b, int distance = 0) {
  if (size_t(kind.shared++) < kShown) kind.first.push_back({what, place_in_words(a), place_in_words(b), distance});
}

using Texts = std::unordered_map<std::string, Place>;

void compare_texts(const Texts& a, const Texts& b, LeakKind& kind) {
  kind.in_a = int64_t(a.size()), kind.in_b = int64_t(b.size());
  std::vector<std::pair<Texts::const_iterator, Texts::const_iterator>> both;
  for (auto in_b = b.begin(); in_b != b.end(); ++in_b)
    if (const auto in_a = a.find(in_b->first); in_a != a.end()) both.push_back({in_a, in_b});
  std::sort(both.begin(), both.end(), [](const auto& x, const auto& y) {
    const auto order = [](const Place& p) { return std::pair(p.set, p.row); };
    return order(x.second->second) < order(y.second->second);
  });
  for (const auto& [in_a, in_b] : both) add_leak(kind, one_line(in_b->first), in_a->second, in_b->second);
}

// Equal for equal texts and equal pixels. A pair with an unreadable picture has no key.
using PairKey = std::array<std::pair<uint64_t, std::vector<Digest>>, 2>;
std::optional<PairKey> key_of(const StoredPair& pair, const std::vector<NamedPicture>& pictures) {
  PairKey key;
  for (size_t side = 0; side < 2; ++side) {
    key[side].first = pair.sides[side].first;
    for (const size_t number : pair.sides[side].second) {
      if (!pictures[number].error.empty()) return {};
      key[side].second.push_back(pictures[number].digest);
    }
  }
  return key;
}

std::map<PairKey, const StoredPair*> distinct_pairs(const Content& content) {
  std::map<PairKey, const StoredPair*> pairs;
  for (const StoredPair& pair : content.pairs)
    if (const auto key = key_of(pair, content.pictures)) pairs.emplace(*key, &pair);
  return pairs;
}

void compare_pairs(const Content& a, const Content& b, LeakKind& kind) {
  const auto in_a = distinct_pairs(a), in_b = distinct_pairs(b);
  kind.in_a = int64_t(in_a.size()), kind.in_b = int64_t(in_b.size());
  for (const StoredPair& pair : b.pairs) {  // in the order of B, each kind of pair at its first row
    const auto key = key_of(pair, b.pictures);
    if (!key || in_b.at(*key) != &pair) continue;
    if (const auto found = in_a.find(*key); found != in_a.end())
      add_leak(kind, pair.text, found->second->place, pair.place);
  }
}

// Returns the readable pictures, only the first of those with equal pixels.
std::vector<const NamedPicture*> distinct_pictures(const Content& content, std::map<Digest, const NamedPicture*>& all) {
  std::vector<const NamedPicture*> order;
  for (const NamedPicture& picture : content.pictures)
    if (picture.error.empty() && all.emplace(picture.digest, &picture).second) order.push_back(&picture);
  return order;
}

void compare_pictures(const Content& a, const Content& b, int distance, LeakReport& report) {
  std::map<Digest, const NamedPicture*> by_pixels, unused;
  std::vector<const NamedPicture*> in_a = distinct_pictures(a, by_pixels), in_b = distinct_pictures(b, unused);
  report.pictures.in_a = int64_t(in_a.size()), report.pictures.in_b = int64_t(in_b.size());
  const auto has_no_look = [](const NamedPicture* picture) { return !picture->look; };
  std::erase_if(in_a, has_no_look);
  std::vector<uint64_t> looks;
  for (const NamedPicture* picture : in_a) looks.push_back(*picture->look);
  report.near.in_a = int64_t(in_a.size());
  report.near.in_b = int64_t(in_b.size()) - std::count_if(in_b.begin(), in_b.end(), has_no_look);
  const NearIndex index(std::move(looks), distance);
  for (const NamedPicture* picture : in_b) {
    const std::string name = one_line(picture->name, 200);
    if (const auto equal = by_pixels.find(picture->digest); equal != by_pixels.end()) {
      add_leak(report.pictures, name, equal->second->place, picture->place);
    } else if (picture->look) {
      if (const auto near = index.nearest(*picture->look))
        add_leak(report.near, name, in_a[*near]->place, picture->place, hamming(*in_a[*near]->look, *picture->look));
    }
  }
}

}  // namespace

NearIndex::NearIndex(std::vector<uint64_t> hashes, int distance)
    : hashes_(std::move(hashes)), distance_(distance), bands_(size_t(distance) + 1) {
  for (size_t number = 0; number < bands_.size(); ++number) {
    for (size_t i = 0; i < hashes_.size(); ++i) bands_[number].push_back({band(hashes_[i], int(number)), uint32_t(i)});
    std::sort(bands_[number].begin(), bands_[number].end());
  }
}

uint64_t NearIndex::band(uint64_t hash, int number) const {
  const int count = distance_ + 1, begin = 64 * number / count, end = 64 * (number + 1) / count;
  return end - begin == 64 ? hash : hash >> begin & ((uint64_t(1) << (end - begin)) - 1);
}

std::optional<size_t> NearIndex::nearest(uint64_t hash) const {
  std::optional<std::pair<int, size_t>> best;
  for (size_t number = 0; number < bands_.size(); ++number) {
    const uint64_t key = band(hash, int(number));
    auto at = std::lower_bound(bands_[number].begin(), bands_[number].end(), std::pair(key, uint32_t(0)));
    for (; at != bands_[number].end() && at->first == key; ++at) {
      const std::pair<int, size_t> found{hamming(hash, hashes_[at->second]), at->second};
      if (found.first <= distance_ && (!best || found < *best)) best = found;
    }
  }
  return best ? std::optional(best->second) : std::nullopt;
}

LeakReport find_leaks(const DataFolder& a, const DataFolder& b, int distance, bool quiet) {
  Content in_a = content_of(a), in_b = content_of(b);
  hash_pictures(in_a.pictures, a.pictures, "pictures of A", quiet);
  hash_pictures(in_b.pictures, b.pictures, "pictures of B", quiet);
  LeakReport report;
  for (const Content* content : {&in_a, &in_b})
    for (const NamedPicture& picture : content->pictures)
      if (!picture.error.empty() && size_t(report.unreadable++) < kShown)
        report.first_unreadable.push_back(picture.error + "; " + place_in_words(picture.place));
  compare_texts(in_a.queries, in_b.queries, report.queries);
  compare_texts(in_a.positives, in_b.positives, report.positives);
  compare_pairs(in_a, in_b, report.pairs);
  compare_pictures(in_a, in_b, distance, report);
  return report;
}

}  // namespace vlm2vec
