#include "io/base64.h"

#include <openssl/evp.h>

#include <climits>

#include "io/error.h"

namespace vlm2vec {

std::string base64(std::span<const uint8_t> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(), int(bytes.size()));
  return text;
}

std::vector<uint8_t> from_base64(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string digits;  // in whole groups of four, as libcrypto wants them
  digits.reserve(text.size() + 3);
  for (const char c : text)
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') digits += c;
  const size_t end = digits.find_last_not_of('=') + 1, bad = digits.find_first_not_of(kDigits);
  if (bad < end) fail(Exit::data, "is not base64: it has the character \"", digits[bad], "\"");
  if (end % 4 == 1 || digits.size() - end > 2)
    fail(Exit::data, "is not base64: ", end, " digits do not make whole bytes; is it cut off?");
  digits.resize(end);
  if (digits.size() > size_t(INT_MAX) - 4) fail(Exit::data, "is not read: it has more than 2 GB of base64");
  const size_t padding = (4 - end % 4) % 4;
  digits.append(padding, '=');
  std::vector<uint8_t> bytes(digits.size() / 4 * 3);
  if (EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(digits.data()), int(digits.size())) < 0)
    fail(Exit::data, "is not base64");
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace vlm2vec
