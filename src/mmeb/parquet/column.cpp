#include "mmeb/parquet/column.h"

#include <zlib.h>

#include <bit>
#include <nlohmann/json.hpp>

namespace vlm2vec::parquet {
Column::Column(const Chunk& chunk, const Leaf& leaf)
    : chunk_(chunk), leaf_(leaf), pages_(chunk.pages), values_to_come_(chunk.values) {
  if (chunk.type != leaf.type)
    fail(Exit::data, "is of type ", name_of(chunk.type), ", the schema says ", name_of(leaf.type));
  if (leaf.kind == Leaf::Kind::refused)
    fail(Exit::data, "is of type ", leaf.type_name, "; booleans, integers, FLOAT, DOUBLE and texts are read");
  next();
}

void Column::next() {
  while (left_in_page_ == 0) {
    if (values_to_come_ == 0) {
      at_end_ = true;
      return;
    }
    load_page();
  }
  --left_in_page_, --values_to_come_;
  repetition_ = repetitions_.next();
  definition_ = definitions_.next();
}

nlohmann::ordered_json Column::value() {
  using Kind = Leaf::Kind;
  if (leaf_.kind == Kind::text) {
    const std::string_view text = values_->text();
    if (!is_utf8(text)) fail(Exit::data, "a value is not UTF-8 text; binary columns are not read");
    return text;
  }
  const uint64_t bits = values_->number();
  switch (leaf_.kind) {
    case Kind::boolean:
      return (bits & 1) != 0;
    case Kind::int32:
      return int32_t(bits);
    case Kind::uint32:
      return uint32_t(bits);
    case Kind::int64:
      return int64_t(bits);
    case Kind::uint64:
      return bits;
    case Kind::float32:
      return std::bit_cast<float>(uint32_t(bits));
    default:
      return std::bit_cast<double>(bits);
  }
}

void Column::load_page() {
  if (pages_.left() == 0) fail(Exit::data, "its pages hold ", values_to_come_, " values fewer than it claims");
  const PageHeader page = read_page_header(pages_);
  const Span stored = pages_.take(uint64_t(page.stored_size));
  if (page.checksum && *page.checksum != crc32_z(0, stored.data(), stored.size()))
    fail(Exit::data, "the checksum of a page is wrong; the file is damaged");
  if (page.kind == PageHeader::Kind::index) return;
  if (page.kind == PageHeader::Kind::dictionary) {
    if (dictionary_ || values_) fail(Exit::data, "a dictionary comes after the first page");
    if (page.encoding != Encoding::plain && page.encoding != Encoding::plain_dictionary)
      fail(Exit::data, "a dictionary has the encoding ", name_of(page.encoding), ", expected PLAIN");
    dictionary_.emplace(leaf_.type, decompress(chunk_.codec, stored, size_t(page.size), dictionary_buffer_),
                        page.values);
    return;
  }
  if (page.values > values_to_come_)
    fail(Exit::data, "a page claims ", page.values, " values, ", values_to_come_, " are to come");
  values_.reset();
  left_in_page_ = page.values;
  if (page.kind == PageHeader::Kind::data) begin_data(page, stored);
  else begin_data_v2(page, stored);
}

// All of it compressed: repetition levels, definition levels, values. Levels as runs say their length first.
void Column::begin_data(const PageHeader& page, Span stored) {
  Bytes bytes(decompress(chunk_.codec, stored, size_t(page.size), page_buffer_));
  const auto levels = [&](int most, Encoding encoding) {
    if (most == 0) return Levels();
    const uint64_t bits = uint64_t(page.values) * uint64_t(Levels::width(most));
    const Span span = bytes.take(encoding == Encoding::bit_packed ? (bits + 7) / 8 : bytes.u32());
    return Levels(span, most, encoding);
  };
  repetitions_ = levels(leaf_.most_repetition, page.repetition_encoding);
  definitions_ = levels(leaf_.most_definition, page.definition_encoding);
  values_ = read_values(page.encoding, leaf_.type, bytes.rest(), dictionary_ ? &*dictionary_ : nullptr);
}

// The levels as they are, then the values, compressed or not.
void Column::begin_data_v2(const PageHeader& page, Span stored) {
  Bytes bytes(stored);
  repetitions_ = Levels(bytes.take(uint64_t(page.repetition_size)), leaf_.most_repetition, Encoding::rle);
  definitions_ = Levels(bytes.take(uint64_t(page.definition_size)), leaf_.most_definition, Encoding::rle);
  const int64_t size = page.size - page.repetition_size - page.definition_size;
  if (size < 0) fail(Exit::data, "a page of ", page.size, " bytes has more bytes of levels");
  const bool compressed = page.compressed && size > 0;  // nulls only: nothing, or an empty stream
  const Span values = compressed ? decompress(chunk_.codec, bytes.rest(), size_t(size), page_buffer_) : bytes.rest();
  values_ = read_values(page.encoding, leaf_.type, values, dictionary_ ? &*dictionary_ : nullptr);
}

}  // namespace vlm2vec::parquet
