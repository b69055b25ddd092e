#include "mmeb/data/data_check.h"

#include <algorithm>

#include "io/error.h"
#include "io/progress.h"
#include "mmeb/registry/task.h"
#include "tensor/parallel.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

// A kind of fault: its count, and the first places with a reason.
struct Fault {
  std::string what;
  int64_t count = 0;
  std::string first = {};
  void add(const std::string& where) {
    if (++count <= 5) first += (count > 1 ? ", " : "") + where;
  }
  void report(SetCheck& check, const char* one, const char* many) const {
    if (count > 0)
      check.problems.push_back(
          sentence(check.name, ": ", count, " ", count == 1 ? one : many, what, ": ", first, count > 5 ? ", ..." : ""));
  }
};

// A picture, its first place, and the messages of decoding, which are empty if all is well.
struct Decoded {
  PictureSource source;
  std::string where, error = {}, flaw = {};
  bool rotated = false;
};

void decode_all(std::vector<Decoded>& pictures, const std::string& set) {
  constexpr int64_t kBlock = 256, kMany = 1000;
  const int64_t n = int64_t(pictures.size());
  Progress progress("pictures of " + set, n, n < kMany);
  for (int64_t done = 0; done < n; done += kBlock) {
    parallel_each(size_t(std::min(kBlock, n - done)), [&](size_t i) {
      Decoded& decoded = pictures[size_t(done) + i];
      decoded.error = data_fault([&] {
        const Picture picture = read_picture(decoded.source);
        decoded.flaw = picture.flaw, decoded.rotated = picture.orientation != 1;
      });
    });
    progress.update(std::min(n, done + kBlock));
  }
}

// Checks the rows and sides of a set. Counts go to `check`, pictures to `found`.
void check_rows(const DataSet& set, const DataFolder& folder, const CheckOptions& options, SetCheck& check,
                std::vector<Decoded>& found) {
  constexpr size_t kShown = 5;
  size_t unread = 0;
  const auto fault = [&](const Error& error) {
    if (++unread <= kShown) check.problems.push_back(error.what());
  };
  const std::vector<TrainRow> rows = read_data_rows(set, folder.pictures, 0, fault);
  if (unread > kShown) check.problems.push_back(sentence(set.name, ": ", unread - kShown, " more rows cannot be read"));
  check.rows = int64_t(rows.size());
  PictureCheck there(folder.pictures);
  Fault tokens{"image tokens that do not match the pictures"}, empty{"neither text nor picture"};
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].positives.empty()) continue;  // the row cannot be read
    const auto look_at = [&](const Side& side, const std::string& which) {
      const std::string where = sentence("row ", i + 1, which), fault = text_fault(side, options.image_token);
      const bool has_token = count_image_tokens(side.text, options.image_token) > 0;
      if (side.images.empty() && has_token) ++check.without_picture;
      if (side.empty()) empty.add(where);
      else if (!fault.empty()) tokens.add(tokens.count == 0 ? where + ": " + fault : where);
      for (const std::string& image : side.images)
        if (there.add(image, i, set.name)) found.push_back({folder.pictures.locate(image), where});
    };
    look_at(rows[i].query, " (query)");
    for (const Side& side : rows[i].positives) look_at(side, set.test ? " (candidate 1)" : " (positive)");
    for (size_t n = 0; n < rows[i].negatives.size(); ++n)
      look_at(rows[i].negatives[n],
              set.test ? sentence(" (candidate ", n + 2, ")") : sentence(" (negative ", n + 1, ")"));
  }
  check.pictures = there.distinct(), check.missing = there.missing();
  check.without_token = tokens.count, check.empty = empty.count;
  if (check.missing > 0) check.problems.push_back(there.summary());
  tokens.report(check, "side has ", "sides have "), empty.report(check, "side has ", "sides have ");
}

}  // namespace

SetCheck check_data_set(const DataSet& set, const DataFolder& folder, const CheckOptions& options) {
  SetCheck check{set.name, set.test};
  std::vector<Decoded> pictures;
  const auto noting = [&](auto&& look) {
    if (const std::string fault = data_fault(look); !fault.empty()) check.problems.push_back(fault);
  };
  if (set.test) noting([&] { task_of(set.name, read_tasks(folder.folder)); });
  noting([&] { check_rows(set, folder, options, check, pictures); });
  if (!options.decode) return check;
  decode_all(pictures, set.name);
  Fault broken{""};
  for (const Decoded& picture : pictures) {
    if (!picture.error.empty()) broken.add(picture.where + ": " + picture.error);
    check.flawed += !picture.flaw.empty(), check.rotated += picture.rotated;
  }
  check.broken = broken.count;
  broken.report(check, "picture cannot be decoded", "pictures cannot be decoded");
  return check;
}

}  // namespace vlm2vec
