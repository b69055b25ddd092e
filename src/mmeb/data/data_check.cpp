#include "mmeb/data/data_check.h"

#include <algorithm>

#include "mmeb/progress.h"
#include "tensor/error.h"
#include "tensor/parallel.h"
#include "vlm/image.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

// How often something is wrong, and where first.
struct Fault {
  std::string what;
  int64_t count = 0;
  std::string first = {};
  void add(const std::string& where) {
    if (++count <= 5) first += (count > 1 ? ", " : "") + where;
  }
  void report(SetCheck& check) const {
    if (count > 0)
      check.problems.push_back(sentence(check.name, ": ", count, count == 1 ? " side has " : " sides have ", what, ": ",
                                        first, count > 5 ? ", ..." : ""));
  }
};

size_t image_tokens(const std::string& text) {
  const std::string token = "\x1F";  // in no text
  const std::string replaced = replace_stored_tokens(text, token);
  return size_t(std::count(replaced.begin(), replaced.end(), token[0]) -
                std::count(text.begin(), text.end(), token[0]));
}

// The errors and flaws of these pictures, in order; both empty where there are none.
struct Decoded {
  std::string error, flaw;
  bool rotated = false;
};
std::vector<Decoded> decode_all(const std::vector<std::filesystem::path>& files, const std::string& set) {
  constexpr int64_t kBlock = 256, kMany = 1000;
  const int64_t n = int64_t(files.size());
  Progress progress("pictures of " + set, n, n < kMany);
  std::vector<Decoded> decoded(files.size());
  for (int64_t done = 0; done < n; done += kBlock) {
    parallel_for(std::min(kBlock, n - done), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = done + begin; i < done + end; ++i) try {
          const Picture picture = read_picture(files[size_t(i)]);
          decoded[size_t(i)] = {"", picture.flaw, picture.orientation != 1};
        } catch (const Error& e) {
          decoded[size_t(i)].error = e.what();
        }
    });
    progress.update(std::min(n, done + kBlock));
  }
  return decoded;
}

}  // namespace

SetCheck check_data_set(const DataSet& set, const Pictures& pictures, bool decode) {
  SetCheck check{set.name, set.test};
  std::vector<TrainRow> rows;
  try {
    rows = read_data_rows(set);
  } catch (const Error& e) {
    check.problems.push_back(e.what());
    return check;
  }
  check.rows = int64_t(rows.size());
  PictureCheck there(pictures);
  std::vector<std::filesystem::path> found;
  Fault token{"a picture and not one <|image_1|> for it"}, empty{"neither text nor picture"};
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto look_at = [&](const Side& side, const std::string& which) {
      const std::string where = sentence("row ", i + 1, which);
      const size_t tokens = image_tokens(side.text);
      if (side.image.empty() && tokens > 0) ++check.without_picture;
      if (!side.image.empty() && tokens != 1) token.add(where);
      if (side.image.empty() && side.text.empty()) empty.add(where);
      if (there.add(side.image, i, set.name) && decode) found.push_back(pictures.locate(side.image));
    };
    look_at(rows[i].query, " (query)");
    for (const Side& side : rows[i].positives) look_at(side, set.test ? " (candidate 1)" : " (positive)");
    for (size_t n = 0; n < rows[i].negatives.size(); ++n)
      look_at(rows[i].negatives[n],
              set.test ? sentence(" (candidate ", n + 2, ")") : sentence(" (negative ", n + 1, ")"));
  }
  check.pictures = there.distinct(), check.missing = there.missing();
  check.without_token = token.count, check.empty = empty.count;
  if (check.missing > 0) check.problems.push_back(there.summary());
  token.report(check), empty.report(check);
  Fault broken{"pictures cannot be decoded"};
  for (const Decoded& picture : decode_all(found, set.name)) {
    if (!picture.error.empty()) broken.add(picture.error);
    check.flawed += !picture.flaw.empty(), check.rotated += picture.rotated;
  }
  check.broken = broken.count;
  broken.report(check);
  return check;
}

}  // namespace vlm2vec
