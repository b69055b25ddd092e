#include "io/parquet/compression.h"

#include <brotli/decode.h>
#include <lz4.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>

namespace vlm2vec::parquet {
namespace {

// Returns the number of bytes written to out[capacity], or none if that is too small.
using Unpack = std::optional<size_t> (*)(Span stored, uint8_t* out, size_t capacity);

[[noreturn]] void damaged(Codec codec) { fail(Exit::data, "the ", name_of(codec), " data of a page are damaged"); }

std::optional<size_t> gzip(Span stored, uint8_t* out, size_t capacity) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK) throw std::bad_alloc();  // 32: with the header of gzip or of zlib
  stream.next_in = const_cast<uint8_t*>(stored.data()), stream.avail_in = uInt(stored.size());
  stream.next_out = out, stream.avail_out = uInt(capacity);
  const int result = inflate(&stream, Z_FINISH);
  const size_t written = capacity - stream.avail_out;
  const bool full = stream.avail_out == 0;
  inflateEnd(&stream);
  if (result == Z_STREAM_END) return written;
  if (result == Z_BUF_ERROR && full) return {};
  damaged(Codec::gzip);
}

std::optional<size_t> brotli(Span stored, uint8_t* out, size_t capacity) {
  const std::unique_ptr<BrotliDecoderState, void (*)(BrotliDecoderState*)> state(
      BrotliDecoderCreateInstance(nullptr, nullptr, nullptr), BrotliDecoderDestroyInstance);
  if (!state) throw std::bad_alloc();
  size_t in_left = stored.size(), out_left = capacity;
  const uint8_t* in = stored.data();
  const BrotliDecoderResult result =
      BrotliDecoderDecompressStream(state.get(), &in_left, &in, &out_left, &out, nullptr);
  if (result == BROTLI_DECODER_RESULT_SUCCESS) return capacity - out_left;
  if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) return {};
  damaged(Codec::brotli);
}

std::optional<size_t> zstd(Span stored, uint8_t* out, size_t capacity) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  thread_local const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  const size_t result = ZSTD_decompressDCtx(context.get(), out, capacity, stored.data(), stored.size());
  if (!ZSTD_isError(result)) return result;
  if (ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall) return {};
  damaged(Codec::zstd);
}

// Returns the first result of attempt(out, room) that is_done, else that for all `size` bytes. Room grows with the
// bytes that come out, not with the claim.
template <class Attempt, class IsDone>
std::optional<size_t> grow(Attempt&& attempt, IsDone&& is_done, Span stored, size_t size, Buffer& buffer) {
  for (size_t room = std::min(size, 16 * stored.size() + 1024);; room = std::min(size, 2 * room)) {
    const std::optional<size_t> written = attempt(buffer.at_least(room), room);
    if (is_done(written, room) || room == size) return written;
  }
}

// For an algorithm that says when its output has no room.
size_t unpacked(Unpack unpack, Span stored, size_t size, Buffer& buffer) {
  const auto attempt = [&](uint8_t* out, size_t room) { return unpack(stored, out, room); };
  const auto is_done = [](const std::optional<size_t>& written, size_t) { return written.has_value(); };
  const auto written = grow(attempt, is_done, stored, size, buffer);
  if (!written) fail(Exit::data, "a page holds more than the ", size, " bytes that it claims");
  return *written;
}

size_t snappy_size(Span stored, size_t size, Buffer& buffer) {
  const char* in = reinterpret_cast<const char*>(stored.data());
  size_t length = 0;
  if (!snappy::GetUncompressedLength(in, stored.size(), &length) || length / 64 > stored.size()) damaged(Codec::snappy);
  if (length != size) return length;
  if (!snappy::RawUncompress(in, stored.size(), reinterpret_cast<char*>(buffer.at_least(size)))) damaged(Codec::snappy);
  return length;
}

// Unpacks one block. Returns the number of bytes written to out[capacity], none if it is damaged. A larger block is
// damaged if `all` is set; else `out` is filled.
std::optional<size_t> lz4_block(Span stored, uint8_t* out, size_t capacity, bool all) {
  if (stored.size() > INT32_MAX || capacity > INT32_MAX) return {};
  const char* in = reinterpret_cast<const char*>(stored.data());
  char* const text = reinterpret_cast<char*>(out);
  const int length = int(stored.size()), room = int(capacity);
  const int written =
      all ? LZ4_decompress_safe(in, text, length, room) : LZ4_decompress_safe_partial(in, text, length, room, room);
  return written < 0 ? std::nullopt : std::optional(size_t(written));
}

uint32_t big_endian(Span bytes) {
  return uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3];
}

// The same with Hadoop's framing: sizes of four bytes, high byte first, of the unpacked bytes and then of each block
// that makes them up.
std::optional<size_t> lz4_frames(Span stored, uint8_t* out, size_t capacity) {
  Bytes bytes(stored);
  size_t written = 0;
  while (bytes.left() > 0 && written < capacity) {
    if (bytes.left() < 8) return {};
    const size_t end = written + big_endian(bytes.take(4));
    while (written < std::min(end, capacity)) {
      if (bytes.left() < 4) return {};
      const uint32_t size = big_endian(bytes.take(4));
      if (size > bytes.left()) return {};
      const auto block = lz4_block(bytes.take(size), out + written, std::min(end, capacity) - written, end <= capacity);
      if (!block || *block == 0) return {};
      written += *block;
    }
  }
  return written;
}

// `framed`: Hadoop and parquet-mr frame the codec LZ4; early files of Arrow have a bare block, as LZ4_RAW does.
std::optional<size_t> lz4(Span stored, size_t size, Buffer& buffer, bool framed) {
  const auto attempt = [&](uint8_t* out, size_t room) {
    return framed ? lz4_frames(stored, out, room) : lz4_block(stored, out, room, room == size);
  };
  const auto is_done = [](const std::optional<size_t>& written, size_t room) { return !written || *written < room; };
  return grow(attempt, is_done, stored, size, buffer);
}

}  // namespace

Span decompress(Codec codec, Span stored, size_t size, Buffer& buffer) {
  size_t found = stored.size();
  switch (codec) {
    case Codec::none:
      break;
    case Codec::snappy:
      found = snappy_size(stored, size, buffer);
      break;
    case Codec::gzip:
      found = unpacked(gzip, stored, size, buffer);
      break;
    case Codec::zstd:
      found = unpacked(zstd, stored, size, buffer);
      break;
    case Codec::brotli:
      found = unpacked(brotli, stored, size, buffer);
      break;
    case Codec::lz4:
    case Codec::lz4_raw: {
      std::optional<size_t> written = codec == Codec::lz4 ? lz4(stored, size, buffer, true) : std::nullopt;
      if (written != size) written = lz4(stored, size, buffer, false);
      if (!written) damaged(codec);
      found = *written;
      break;
    }
    case Codec::lzo:
      fail(Exit::data, "is compressed with lzo; none, snappy, gzip, brotli, lz4 and zstd are read");
  }
  if (found != size) fail(Exit::data, "a page holds ", found, " bytes and claims ", size);
  return codec == Codec::none ? stored : Span(buffer.at_least(size), size);
}

}  // namespace vlm2vec::parquet
