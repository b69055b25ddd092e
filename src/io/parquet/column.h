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

// Where a value that is not null lies: the page's first byte in the file, and how many such values the page has before
// it.
struct Place {
  uint64_t page = 0, index = 0;
};

class Column {
 public:
  // Stands at the first entry; both must outlive it.
  Column(const Chunk& chunk, const Leaf& leaf);
  // Stands at the first entry of the page at byte `page` of the file, and ends with the page.
  Column(const Chunk& chunk, const Leaf& leaf, uint64_t page, std::shared_ptr<const StoredDictionary> dictionary);
  // The chunk's, which lies before its other pages; null: it has none.
  static std::shared_ptr<const StoredDictionary> dictionary_of(const Chunk& chunk, const Leaf& leaf);

  // The entry where it stands. Of a null or an empty list there is an entry without a value.
  bool at_end() const { return at_end_; }
  int definition() const { return definition_; }
  int repetition() const { return repetition_; }
  void next();

  // Call exactly one of these, once, for an entry whose definition level is the column's highest.
  nlohmann::ordered_json value();  // not of a binary column
  std::string_view bytes() { return values_->text(); }
  Place place() const { return {page_, values_seen_ - 1}; }  // of a binary value, in place of bytes()

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
  uint64_t begin_, page_ = 0;  // of pages_ and of the current page: their first bytes in the file
  uint64_t values_seen_ = 0;   // of the page, with the one where it stands
  Buffer page_buffer_;
  std::shared_ptr<const StoredDictionary> dictionary_;
  Levels definitions_, repetitions_;
  std::unique_ptr<Values> values_;
};

}  // namespace vlm2vec::parquet
