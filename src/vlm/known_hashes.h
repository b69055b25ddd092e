// SHA-256 of files, remembered in the user's cache folder ($XDG_CACHE_HOME/vlm2vec or ~/.cache/vlm2vec), so that
// gigabytes are read again only when a file has changed. A damaged or read-only memory is not an error.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

// Size, times of modification and of change in ns, inode, device: every change of a file changes one of them.
using FileStamp = std::array<int64_t, 5>;
FileStamp stamp_of(const std::filesystem::path& file);  // throws Exit::data if it is missing

// Returns the file that remembers; empty if the user has no cache folder.
std::filesystem::path hash_memory();

// Returns each file's SHA-256 as hexadecimal digits: remembered if the file still has its stamp, else computed.
// A file that changed within the last two seconds is not remembered: its stamp might miss a further change.
std::vector<std::string> known_hashes(const std::vector<std::filesystem::path>& files);

}  // namespace vlm2vec
