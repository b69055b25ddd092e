#include "io/parquet/column.h"

#include <zlib.h>

#include <nlohmann/json.hpp>

#include "io/parquet/logical.h"
#include "io/text.h"

namespace vlm2vec::parquet {
namespace {

void check_readable(const Chunk& chunk, const Leaf& leaf) {
  if (!chunk.fault.empty()) fail(Exit::data, chunk.fault);
  if (chunk.type != leaf.type)
    fail(Exit::data, "is of type ", name_of(chunk.type), ", the schema says ", name_of(leaf.type));
  if (leaf.kind == Leaf::Kind::refused) fail(Exit::data, "is of type ", leaf.type_name, ", which is not read");
}

Span take_page(Bytes& pages, const PageHeader& page) {
  const Span stored = pages.take(uint64_t(page.stored_size));
  if (page.checksum && *page.checksum != crc32_z(0, stored.data(), stored.size()))
    fail(Exit::data, "the checksum of a page is wrong; the file is damaged");
  return stored;
}

std::shared_ptr<const StoredDictionary> read_dictionary(const Chunk& chunk, const Leaf& leaf, const PageHeader& page,
                                                        Span stored) {
  if (page.encoding != Encoding::plain && page.encoding != Encoding::plain_dictionary)
    fail(Exit::data, "a dictionary has the encoding ", name_of(page.encoding), ", expected PLAIN");
  const auto dictionary = std::make_shared<StoredDictionary>();
  dictionary->values.emplace(leaf.type, leaf.width,
                             decompress(chunk.codec, stored, size_t(page.size), dictionary->buffer), page.values);
  return dictionary;
}

}  // namespace

Column::Column(const Chunk& chunk, const Leaf& leaf)
    : chunk_(chunk), leaf_(leaf), pages_(chunk.pages), values_to_come_(chunk.values), begin_(chunk.begin) {
  check_readable(chunk, leaf);
  next();
}

Column::Column(const Chunk& chunk, const Leaf& leaf, uint64_t page, std::shared_ptr<const StoredDictionary> dictionary)
    : chunk_(chunk),
      leaf_(leaf),
      pages_(chunk.pages.subspan(page - chunk.begin)),
      values_to_come_(chunk.values),
      begin_(page),
      dictionary_(std::move(dictionary)) {
  check_readable(chunk, leaf);
  load_page();
  values_to_come_ = left_in_page_;
  next();
}

std::shared_ptr<const StoredDictionary> Column::dictionary_of(const Chunk& chunk, const Leaf& leaf) {
  check_readable(chunk, leaf);
  Bytes pages(chunk.pages);
  const PageHeader page = read_page_header(pages);
  return page.kind == PageHeader::Kind::dictionary ? read_dictionary(chunk, leaf, page, take_page(pages, page))
                                                   : nullptr;
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
  if (definition_ == leaf_.most_definition) ++values_seen_;
}

nlohmann::ordered_json Column::value() {
  if (!has_bytes(leaf_.type)) return number_value(leaf_, values_->number());
  const std::string_view bytes = values_->text();
  if (leaf_.kind != Leaf::Kind::text) return bytes_value(leaf_, bytes);
  if (!is_utf8(bytes)) fail(Exit::data, "a value is not UTF-8 text");
  return bytes;
}

void Column::load_page() {
  if (pages_.left() == 0) fail(Exit::data, "its pages hold ", values_to_come_, " values fewer than it claims");
  page_ = begin_ + pages_.position();
  const PageHeader page = read_page_header(pages_);
  const Span stored = take_page(pages_, page);
  if (page.kind == PageHeader::Kind::index) return;
  if (page.kind == PageHeader::Kind::dictionary) {
    if (dictionary_ || values_) fail(Exit::data, "a dictionary comes after the first page");
    dictionary_ = read_dictionary(chunk_, leaf_, page, stored);
    return;
  }
  if (page.values > values_to_come_)
    fail(Exit::data, "a page claims ", page.values, " values, ", values_to_come_, " are to come");
  values_.reset();
  left_in_page_ = page.values, values_seen_ = 0;
  if (page.kind == PageHeader::Kind::data) begin_data(page, stored);
  else begin_data_v2(page, stored);
}

// Compressed as a whole: repetition levels, definition levels, values. Levels as runs say their length first.
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
  begin_values(page, bytes.rest());
}

// The levels uncompressed, then the values, compressed or not.
void Column::begin_data_v2(const PageHeader& page, Span stored) {
  Bytes bytes(stored);
  repetitions_ = Levels(bytes.take(uint64_t(page.repetition_size)), leaf_.most_repetition, Encoding::rle);
  definitions_ = Levels(bytes.take(uint64_t(page.definition_size)), leaf_.most_definition, Encoding::rle);
  const int64_t size = page.size - page.repetition_size - page.definition_size;
  if (size < 0) fail(Exit::data, "a page of ", page.size, " bytes has more bytes of levels");
  const bool compressed = page.compressed && size > 0;  // nulls only: nothing, or an empty stream
  begin_values(page, compressed ? decompress(chunk_.codec, bytes.rest(), size_t(size), page_buffer_) : bytes.rest());
}

void Column::begin_values(const PageHeader& page, Span values) {
  values_ = read_values(page.encoding, leaf_.type, leaf_.width, values, dictionary_ ? &*dictionary_->values : nullptr);
}

}  // namespace vlm2vec::parquet
