// SHA-256 (FIPS 180-4) by libcrypto, with the processor's own instructions: finds equal pictures, identifies weights,
// and lets anyone check files with sha256sum.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace vlm2vec {

using Digest = std::array<uint8_t, 32>;

Digest sha256(std::string_view bytes);
std::string hex(const Digest& digest);                        // 64 lower-case digits, as sha256sum prints them
std::string hash_of_file(const std::filesystem::path& file);  // its SHA-256, as hex

}  // namespace vlm2vec
