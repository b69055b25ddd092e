// One column of one row group as a sequence of (levels, value), page by page: only one page and the dictionary are in
// memory.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "mmeb/parquet/compression.h"
#include "mmeb/parquet/encodings.h"
#include "mmeb/parquet/schema.h"

namespace vlm2vec::parquet {

class Column {
 public:
  Column(const Chunk& chunk, const Leaf& leaf);  // stands at the first entry; both must outlive it

  // The entry where it stands. Of a null or an empty list there is an entry without a value.
  bool at_end() const { return at_end_; }
  int definition() const { return definition_; }
  int repetition() const { return repetition_; }
  nlohmann::ordered_json value();  // once for each entry whose definition level is the column's highest
  void next();

 private:
  void load_page();
  void begin_data(const PageHeader& page, Span stored);
  void begin_data_v2(const PageHeader& page, Span stored);

  const Chunk& chunk_;
  const Leaf& leaf_;
  Bytes pages_;
  int64_t values_to_come_, left_in_page_ = 0;
  bool at_end_ = false;
  int definition_ = 0, repetition_ = 0;
  Buffer page_buffer_, dictionary_buffer_;
  std::optional<Dictionary> dictionary_;
  Levels definitions_, repetitions_;
  std::unique_ptr<Values> values_;
};

}  // namespace vlm2vec::parquet
