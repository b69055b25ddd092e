// The rows of a training set in little memory: blocks of a megabyte hold each distinct string once, and rows refer to
// strings by place. A million rows of MMEB, whose instructions, class names and pictures repeat, need about as much
// memory as their questions and captions.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vlm2vec {

// One side of a pair, as stored: its text and its pictures.
struct Side {
  Side() = default;
  Side(std::string text, std::vector<std::string> images) : text(std::move(text)), images(std::move(images)) {}
  explicit Side(std::string text) : text(std::move(text)) {}
  Side(std::string text, const std::string& image) : text(std::move(text)) {
    if (!image.empty()) images.push_back(image);
  }
  std::string text;
  std::vector<std::string> images;  // names for Pictures::find, in the order of <|image_1|>, <|image_2|>, …
  std::string image() const;        // for display and result files: "a.png", "a.png, b.png", or ""
  bool empty() const { return text.empty() && images.empty(); }
  auto operator<=>(const Side&) const = default;
};

struct TrainRow {
  Side query;
  std::vector<Side> positives;  // one or more right answers
  std::vector<Side> negatives;  // hard negatives, perhaps none
};

class PackedRows {
 public:
  void add(const TrainRow& row);
  void add_faulty(const std::string& fault);  // adds an unreadable row with two empty sides
  void finish();                              // must follow the last row: frees data needed only for adding

  size_t size() const { return rows_.size(); }
  std::string fault(size_t i) const;  // why the row cannot be read, or empty
  size_t negatives() const;           // number over all rows
  int64_t bytes() const;              // memory used
  TrainRow operator[](size_t i) const;
  // Calls f(picture, row) for each picture and the first row that names it; may repeat a picture of a list.
  void each_picture(const std::function<void(const std::string& picture, size_t row)>& f) const;

 private:
  struct StoredSide {
    // Places of the strings: number of the block · 2²⁰ + place in it. Pictures are one string, joined by NUL.
    uint32_t text, images;
  };
  struct StoredRow {
    uint32_t first_side, positives;  // query, positives, negatives; then the next row's
  };
  uint32_t store(const std::string& text);
  std::string_view text(uint32_t at) const;
  size_t end_side(size_t row) const { return row + 1 < rows_.size() ? rows_[row + 1].first_side : sides_.size(); }

  std::vector<std::string> blocks_;  // strings: each its length (u32), then its bytes
  std::vector<StoredSide> sides_;
  std::vector<StoredRow> rows_;
  std::unordered_map<size_t, std::string> faults_;
  std::unordered_map<size_t, uint32_t> known_;  // hash → place
};

}  // namespace vlm2vec
