#include "io/parquet/encodings.h"

#include <algorithm>
#include <bit>
#include <string>

namespace vlm2vec::parquet {
namespace {

[[noreturn]] void ends_early() { fail(Exit::data, "a page has fewer values than it claims"); }


uint64_t load(const uint8_t* at, size_t width) {
  uint64_t value = 0;
  if (width == 8) std::memcpy(&value, at, 8);
  else std::memcpy(&value, at, 4);
  return value;
}

struct PlainNumbers : Values {
  PlainNumbers(Span bytes, size_t width) : bytes(bytes), width(width) {}
  uint64_t number() override { return load(bytes.take(width).data(), width); }
  Bytes bytes;
  size_t width;
};

struct PlainBooleans : Values {
  explicit PlainBooleans(Span bytes) : bytes(bytes) {}
  uint64_t number() override {
    if (position / 8 >= bytes.size()) ends_early();
    const uint64_t value = bytes[position / 8] >> position % 8 & 1;
    ++position;
    return value;
  }
  Span bytes;
  size_t position = 0;
};

struct PlainTexts : Values {
  explicit PlainTexts(Span bytes) : bytes(bytes) {}
  std::string_view text() override { return bytes.text(); }
  Bytes bytes;
};

struct PlainFixed : Values {
  PlainFixed(Span bytes, size_t width) : bytes(bytes), width(width) {}
  std::string_view text() override { return as_text(bytes.take(width)); }
  Bytes bytes;
  size_t width;
};

struct RunBooleans : Values {
  explicit RunBooleans(Bytes bytes) : runs(bytes.take(bytes.u32()), 1) {}
  uint64_t number() override { return runs.next(); }
  Runs runs;
};

struct DictionaryValues : Values {
  DictionaryValues(Span bytes, const Dictionary& dictionary)
      : dictionary(dictionary), indices(bytes.empty() ? bytes : bytes.subspan(1), bytes.empty() ? 0 : bytes[0]) {
    if (!bytes.empty() && bytes[0] > 32) fail(Exit::data, "dictionary indices have ", int(bytes[0]), " bits");
  }
  uint64_t number() override { return dictionary.number(indices.next()); }
  std::string_view text() override { return dictionary.text(indices.next()); }
  const Dictionary& dictionary;
  Runs indices;
};

// Byte 0 of all values, then byte 1 of all, …
struct SplitValues : Values {
  SplitValues(Span bytes, size_t width) : bytes(bytes), width(width), count(bytes.size() / width) {
    if (bytes.size() % width != 0) fail(Exit::data, "a page has ", bytes.size(), " bytes for values of ", width);
  }
  std::string_view text() override {
    if (position == count) ends_early();
    last.resize(width);
    for (size_t i = 0; i < width; ++i) last[i] = char(bytes[i * count + position]);
    ++position;
    return last;
  }
  uint64_t number() override { return load(reinterpret_cast<const uint8_t*>(text().data()), width); }
  bool texts_stay() const override { return false; }
  Span bytes;
  size_t width, count, position = 0;
  std::string last;
};

// DELTA_BINARY_PACKED: each number is the one before plus the block's smallest difference plus a packed rest.
class Differences {
 public:
  explicit Differences(Span span) : bytes_(span) {
    const uint64_t block = bytes_.varint(), miniblocks = bytes_.varint();
    left_ = bytes_.varint();
    value_ = uint64_t(bytes_.zigzag());
    if (block == 0 || block % 128 != 0 || block > (1u << 30) || miniblocks == 0 || block % miniblocks != 0 ||
        block / miniblocks % 32 != 0)
      fail(Exit::data, "blocks of ", block, " differences in ", miniblocks, " parts");
    miniblocks_ = miniblocks, size_ = position_ = block / miniblocks;
  }
  uint64_t next() {
    if (left_ == 0) ends_early();
    --left_;
    if (first_) {
      first_ = false;
      return value_;
    }
    if (position_ == size_) begin_miniblock();
    value_ += smallest_ + bits_at(packed_, position_++ * uint64_t(width_), width_);
    return value_;
  }
  // Passes over the numbers and returns the bytes that follow.
  Span skip_all() && {
    uint64_t passed = first_ ? 1 : 0;
    for (; left_ > passed; passed += size_) begin_miniblock();
    return bytes_.rest();
  }

 private:
  void begin_miniblock() {
    if (widths_.empty()) {
      smallest_ = uint64_t(bytes_.zigzag());
      widths_ = bytes_.take(miniblocks_);
    }
    width_ = widths_[0];
    if (width_ > 64) fail(Exit::data, "differences have ", width_, " bits");
    packed_ = bytes_.take(size_ / 8 * uint64_t(width_));
    widths_ = widths_.subspan(1);
    position_ = 0;
  }

  Bytes bytes_;
  uint64_t miniblocks_ = 0, size_ = 0;  // in a block; numbers in a miniblock
  uint64_t left_ = 0, value_ = 0, smallest_ = 0;
  bool first_ = true;
  Span widths_, packed_;  // widths of the miniblocks to come; the current miniblock
  int width_ = 0;
  uint64_t position_ = 0;
};

struct DifferenceNumbers : Values {
  explicit DifferenceNumbers(Span bytes) : differences(bytes) {}
  uint64_t number() override { return differences.next(); }
  Differences differences;
};

// DELTA_LENGTH_BYTE_ARRAY: all lengths, then all texts.
struct LengthTexts : Values {
  explicit LengthTexts(Span bytes) : lengths(bytes), texts(Differences(bytes).skip_all()) {}
  std::string_view text() override { return as_text(texts.take(uint32_t(lengths.next()))); }
  Differences lengths;
  Bytes texts;
};

// DELTA_BYTE_ARRAY: how many bytes each text shares with the one before, then the rest of each as above.
struct PrefixTexts : Values {
  PrefixTexts(Span bytes, size_t width) : prefixes(bytes), rests(Differences(bytes).skip_all()), width(width) {}
  std::string_view text() override {
    const uint32_t shared = uint32_t(prefixes.next());
    if (shared > last.size()) fail(Exit::data, "a text shares ", shared, " bytes with one of ", last.size());
    last.resize(shared);
    last += rests.text();
    if (width > 0 && last.size() != width) fail(Exit::data, "a value has ", last.size(), " bytes, expected ", width);
    return last;
  }
  bool texts_stay() const override { return false; }
  Differences prefixes;
  LengthTexts rests;
  size_t width;  // bytes of every text; 0: any
  std::string last;
};

}  // namespace

void Runs::begin_run() {
  while (left_ == 0) {
    if (bytes_.left() == 0) ends_early();
    const uint64_t header = bytes_.varint(), count = header >> 1;
    packed_ = {}, bit_ = 0, value_ = 0;
    if (header & 1) {  // groups of eight; a writer may leave out the end of the last one
      const uint64_t bytes = width_ > 0 ? std::min(count, bytes_.left() / uint64_t(width_) + 1) * uint64_t(width_) : 0;
      packed_ = bytes_.take(std::min<uint64_t>(bytes, bytes_.left()));
      left_ = width_ > 0 ? std::min(packed_.size() * 8 / uint64_t(width_), count * 8)
                         : std::min<uint64_t>(count, 1u << 28) * 8;
    } else {
      for (int i = 0; i < (width_ + 7) / 8; ++i) value_ |= uint32_t(bytes_.byte()) << (8 * i);
      left_ = count;
    }
  }
}

int Levels::width(int most) { return std::bit_width(unsigned(most)); }

Levels::Levels(Span bytes, int most, Encoding encoding)
    : most_(most), high_first_(encoding == Encoding::bit_packed), bytes_(bytes), runs_(bytes, width(most)) {
  if (encoding != Encoding::rle && encoding != Encoding::bit_packed)
    fail(Exit::data, "levels are encoded as ", name_of(encoding), ", expected RLE or BIT_PACKED");
}

uint32_t Levels::next_high_first() {
  uint32_t level = 0;
  for (int i = width(most_); i > 0; --i, ++bit_) {
    if (bit_ / 8 >= bytes_.size()) ends_early();
    level = level << 1 | (bytes_[bit_ / 8] >> (7 - bit_ % 8) & 1);
  }
  return level;
}

uint64_t Values::number() { fail(Exit::data, "a page of texts in a column of numbers"); }
std::string_view Values::text() { fail(Exit::data, "a page of numbers in a column of texts"); }

Dictionary::Dictionary(Physical type, size_t width, Span page, int64_t entries) : width_(width), page_(page) {
  if (type == Physical::bytes) {
    Bytes bytes(page);
    for (int64_t i = 0; i < entries; ++i) texts_.push_back(bytes.text());
  } else if (width == 0 || uint64_t(entries) * width > page.size()) {
    fail(Exit::data, "a dictionary of ", entries, ' ', name_of(type), " values has ", page.size(), " bytes");
  }
  entries_ = size_t(entries);
}

void Dictionary::check(uint32_t index) const {
  if (index >= entries_) fail(Exit::data, "entry ", index, " of a dictionary of ", entries_);
}

uint64_t Dictionary::number(uint32_t index) const {
  check(index);
  return load(page_.data() + index * width_, width_);
}

std::string_view Dictionary::text(uint32_t index) const {
  check(index);
  return width_ == 0 ? texts_[index] : as_text(page_.subspan(index * width_, width_));
}

std::unique_ptr<Values> read_values(Encoding encoding, Physical type, size_t width, Span bytes,
                                    const Dictionary* dictionary) {
  const bool text = type == Physical::bytes, boolean = type == Physical::boolean;
  const bool fixed = type == Physical::fixed_bytes || type == Physical::int96;
  switch (encoding) {
    case Encoding::plain:
      if (text) return std::make_unique<PlainTexts>(bytes);
      if (boolean) return std::make_unique<PlainBooleans>(bytes);
      if (fixed) return std::make_unique<PlainFixed>(bytes, width);
      return std::make_unique<PlainNumbers>(bytes, width);
    case Encoding::plain_dictionary:
    case Encoding::rle_dictionary:
      if (!dictionary) fail(Exit::data, "a page needs a dictionary, and none came before it");
      return std::make_unique<DictionaryValues>(bytes, *dictionary);
    case Encoding::rle:
      if (boolean) return std::make_unique<RunBooleans>(Bytes(bytes));
      break;
    case Encoding::delta_binary_packed:
      if (type == Physical::int32 || type == Physical::int64) return std::make_unique<DifferenceNumbers>(bytes);
      break;
    case Encoding::delta_length_byte_array:
      if (text) return std::make_unique<LengthTexts>(bytes);
      break;
    case Encoding::delta_byte_array:
      if (text || fixed) return std::make_unique<PrefixTexts>(bytes, width);
      break;
    case Encoding::byte_stream_split:
      if (!text && !boolean) return std::make_unique<SplitValues>(bytes, width);
      break;
    default:
      break;
  }
  fail(Exit::data, "a page of type ", name_of(type), " has the encoding ", name_of(encoding), ", which is not read");
}

}  // namespace vlm2vec::parquet
