#include "io/nearest.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <numeric>
#include <tuple>
#include <utility>

#include "io/text.h"

namespace vlm2vec {
namespace {

size_t distance(const std::string& a, const std::string& b) {
  // Edits between the first i letters of a (in `last` i − 1, in `older` i − 2) and each prefix of b.
  std::vector<size_t> row(b.size() + 1), last, older;
  std::iota(row.begin(), row.end(), size_t(0));
  for (size_t i = 1; i <= a.size(); ++i) {
    older = std::exchange(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j - 1] + (a[i - 1] != b[j - 1]), row[j - 1] + 1, last[j] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
  }
  return row.back();
}

using Parts = std::vector<std::string>;

Parts parts_of(const std::string& word) {
  Parts parts{""};
  for (const unsigned char c : word) {
    if (std::isalnum(c) || c >= 0x80) parts.back() += char(std::tolower(c));
    else if (!parts.back().empty()) parts.emplace_back();
  }
  if (parts.back().empty()) parts.pop_back();
  return parts;
}

bool alike(const std::string& a, const std::string& b) {
  return a == b || (std::min(a.size(), b.size()) >= 3 && (a.starts_with(b) || b.starts_with(a)));
}

template <class Same>
bool holds(const Parts& all, const Parts& some, Same same) {
  return !some.empty() && std::all_of(some.begin(), some.end(), [&](const std::string& part) {
    return std::any_of(all.begin(), all.end(), [&](const std::string& other) { return same(part, other); });
  });
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  const Parts parts = parts_of(word);
  std::string best;
  std::tuple<int, size_t, size_t> least{4, 0, 0};  // kind of likeness, differing letters, letters
  for (const std::string& other : words) {
    const Parts others = parts_of(other);
    const size_t edits = distance(word, other);
    const bool most = 2 * other.size() > word.size();
    const int kind = holds(others, parts, std::equal_to<>()) ? 0
                     : holds(others, parts, alike)           ? 1
                     : most && holds(parts, others, alike)   ? 2
                     : edits <= word.size() / 3              ? 3
                                                             : 4;
    if (const std::tuple rank{kind, edits, other.size()}; rank < least) least = rank, best = other;
  }
  return best;
}

std::string nearest_hint(const std::string& word, const std::vector<std::string>& words) {
  if (const std::string near = nearest(word, words); !near.empty()) return "; the nearest is " + near;
  if (words.empty()) return "; there are none";
  return "; there " + std::string(words.size() == 1 ? "is " : "are ") + listed(words);
}

}  // namespace vlm2vec
