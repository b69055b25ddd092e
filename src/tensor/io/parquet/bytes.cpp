#include "tensor/io/parquet/bytes.h"

#include <utf8proc.h>

#include <algorithm>

namespace vlm2vec::parquet {

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto* end = at + text.size();
  while (at < end) {
    uint64_t eight = 0;
    if (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    utf8proc_int32_t code;
    const utf8proc_ssize_t length = *at < 128 ? 1 : utf8proc_iterate(at, end - at, &code);
    if (length <= 0) return false;
    at += length;
  }
  return true;
}

std::string printable(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
  return name;
}

}  // namespace vlm2vec::parquet
