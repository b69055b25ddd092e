// Base64 (RFC 4648) by libcrypto.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

std::string base64(std::span<const uint8_t> bytes);  // with = at the end
// White space is skipped, and = at the end may be absent. Throws Exit::data for any other character.
std::vector<uint8_t> from_base64(std::string_view text);

}  // namespace vlm2vec
