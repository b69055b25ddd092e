// The rows of a training set in little memory: each distinct string once, one behind the other in blocks of a megabyte,
// and numbers that say where. A million rows of MMEB (instructions, class names and pictures repeat) take about the
// space of their questions and captions.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vlm2vec {

// One side of a pair as stored: its text and its pictures.
struct Side {
  Side() = default;
  Side(std::string text, std::vector<std::string> images) : text(std::move(text)), images(std::move(images)) {}
  explicit Side(std::string text) : text(std::move(text)) {}
  Side(std::string text, const std::string& image) : text(std::move(text)) {
    if (!image.empty()) images.push_back(image);
  }
  std::string text;
  std::vector<std::string> images;  // as Pictures finds them, in the order of <|image_1|>, <|image_2|>, …
  std::string image() const;        // for people and result files: "a.png", of several "a.png, b.png", of none ""
  bool empty() const { return text.empty() && images.empty(); }
  auto operator<=>(const Side&) const = default;
};

struct TrainRow {
  Side query;
  std::vector<Side> positives;  // one or more: each is a right answer
  std::vector<Side> negatives;  // wrong answers that look right, perhaps none
};

class TrainRows {
 public:
  void add(const TrainRow& row);
  void add_faulty(const std::string& fault);  // a row that cannot be read, of two empty sides
  void finish();                              // after the last row: forgets what only adding needs

  size_t size() const { return rows_.size(); }
  std::string fault(size_t i) const;  // why the row cannot be read; empty: it can
  size_t negatives() const;           // of all rows
  int64_t bytes() const;              // in memory
  TrainRow operator[](size_t i) const;
  // f(picture, row) for each picture with the first row that names it; again where it stands among others.
  void each_picture(const std::function<void(const std::string& picture, size_t row)>& f) const;

 private:
  struct StoredSide {
    // Where their strings begin: number of the block · 2²⁰ + place in it. Pictures are one string with NUL between.
    uint32_t text, images;
  };
  struct StoredRow {
    uint32_t first_side, positives;  // query, positives, negatives; then the next row's
  };
  uint32_t store(const std::string& text);
  std::string_view text(uint32_t at) const;
  size_t end_side(size_t row) const { return row + 1 < rows_.size() ? rows_[row + 1].first_side : sides_.size(); }

  std::vector<std::string> blocks_;  // of each string its length (u32), then its bytes
  std::vector<StoredSide> sides_;
  std::vector<StoredRow> rows_;
  std::unordered_map<size_t, std::string> faults_;
  std::unordered_map<size_t, uint32_t> known_;  // hash → where
};

}  // namespace vlm2vec
