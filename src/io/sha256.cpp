#include "io/sha256.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "io/files.h"

namespace vlm2vec {

Digest sha256(std::string_view bytes) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  OPENSSL_thread_stop();  // frees libcrypto's memory of this thread; threads of the pool never end
  return digest;
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) text += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
  return text;
}

std::string hash_of_file(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  return hex(sha256(as_text(mapped->bytes())));
}

}  // namespace vlm2vec
