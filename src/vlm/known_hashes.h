// SHA-256 of files, remembered in the user's cache folder ($XDG_CACHE_HOME/vlm2vec or ~/.cache/vlm2vec), so that
// gigabytes are read again only when a file has changed. A memory that is damaged or cannot be written is not an error.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

// Size, times of modification and of change in ns, inode, device: whoever changes a file changes one of them.
using FileStamp = std::array<int64_t, 5>;
FileStamp stamp_of(const std::filesystem::path& file);  // Exit::data if it is not there

// The file that remembers; empty if the user has no such folder.
std::filesystem::path hash_memory();

// The SHA-256 of each file as hexadecimal digits: remembered if the file has the stamp it had then, else computed.
// What was changed within the last two seconds is not remembered: a further change might not show in its stamp.
std::vector<std::string> known_hashes(const std::vector<std::filesystem::path>& files);

}  // namespace vlm2vec
