// One column of one row group as a sequence of (levels, value), page by page: only one page and the dictionary are in
// memory.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "io/parquet/compression.h"
#include "io/parquet/encodings.h"
#include "io/parquet/schema.h"

namespace vlm2vec::parquet {

// A dictionary, and the bytes in memory that it needs.
struct StoredDictionary {
  Buffer buffer;
  std::optional<Dictionary> values;
};

// The place of a value that is not null: its page's first byte in the file, and how many such values come before it.
struct Place {
  uint64_t page = 0, index = 0;
};

class Column {
 public:
  // Starts at the first entry. `chunk` and `leaf` must outlive the column.
  Column(const Chunk& chunk, const Leaf& leaf);
  // Starts at the first entry of the page at byte `page` of the file, and ends with the page.
  Column(const Chunk& chunk, const Leaf& leaf, uint64_t page, std::shared_ptr<const StoredDictionary> dictionary);
  // Returns the chunk's dictionary, which lies before its other pages; null: it has none.
  static std::shared_ptr<const StoredDictionary> dictionary_of(const Chunk& chunk, const Leaf& leaf);

  // The current entry. A null or an empty list has an entry without a value.
  bool at_end() const { return at_end_; }
  int definition() const { return definition_; }
  int repetition() const { return repetition_; }
  void next();

  // Call exactly one of these, once, for an entry whose definition level is the column's highest.
  nlohmann::ordered_json value();  // not for a binary column
  std::string_view bytes() { return values_->text(); }
  Place place() const { return {page_, values_seen_ - 1}; }  // for a binary value, instead of bytes()

  const Leaf& leaf() const { return leaf_; }
  bool texts_stay() const { return values_->texts_stay(); }
  size_t memory() const { return page_buffer_.capacity(); }

 private:
  void load_page();
  void begin_data(const PageHeader& page, Span stored);
  void begin_data_v2(const PageHeader& page, Span stored);
  void begin_values(const PageHeader& page, Span values);

  const Chunk& chunk_;
  const Leaf& leaf_;
  Bytes pages_;
  int64_t values_to_come_, left_in_page_ = 0;
  bool at_end_ = false;
  int definition_ = 0, repetition_ = 0;
  uint64_t begin_, page_ = 0;  // first bytes in the file: of pages_, of the current page
  uint64_t values_seen_ = 0;   // in the page, with the current one
  Buffer page_buffer_;
  std::shared_ptr<const StoredDictionary> dictionary_;
  Levels definitions_, repetitions_;
  std::unique_ptr<Values> values_;
};

}  // namespace vlm2vec::parquet
