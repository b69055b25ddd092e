#include "mmeb/parquet/compression.h"

#include <snappy.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>

namespace vlm2vec::parquet {
namespace {

// Bytes written to out[capacity], or none when it is too small.
using Attempt = std::optional<size_t> (*)(Span stored, uint8_t* out, size_t capacity);

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

// Room grows with what comes out, not with what was claimed.
size_t grow(Attempt attempt, Span stored, size_t size, Buffer& buffer) {
  for (size_t room = std::min(size, 16 * stored.size() + 1024);; room = std::min(size, 2 * room)) {
    const std::optional<size_t> written = attempt(stored, buffer.at_least(room), room);
    if (written) return *written;
    if (room == size) fail(Exit::data, "a page holds more than the ", size, " bytes that it claims");
  }
}

size_t snappy_size(Span stored, size_t size, Buffer& buffer) {
  const char* in = reinterpret_cast<const char*>(stored.data());
  size_t length = 0;
  if (!snappy::GetUncompressedLength(in, stored.size(), &length) || length / 64 > stored.size()) damaged(Codec::snappy);
  if (length != size) return length;
  if (!snappy::RawUncompress(in, stored.size(), reinterpret_cast<char*>(buffer.at_least(size)))) damaged(Codec::snappy);
  return length;
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
      found = grow(gzip, stored, size, buffer);
      break;
    case Codec::zstd:
      found = grow(zstd, stored, size, buffer);
      break;
    default:
      fail(Exit::data, "is compressed with ", name_of(codec), "; none, snappy, gzip and zstd are read");
  }
  if (found != size) fail(Exit::data, "a page holds ", found, " bytes and claims ", size);
  return codec == Codec::none ? stored : Span(buffer.at_least(size), size);
}

}  // namespace vlm2vec::parquet
