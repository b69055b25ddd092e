// The members of a tar file: POSIX ustar and pax, GNU long names. A header of 512 bytes stands before each member's
// bytes, which are filled up to a multiple of 512; an empty block ends the file (POSIX.1-2001, pax).
#pragma once
#include "io/archive.h"

namespace vlm2vec {

// Returns files and hard links by name, without folders, symbolic links, devices and junk. Among equal names the last
// counts, as with `tar -x`. Throws Exit::data, naming the file and the damaged byte.
ArchiveIndex index_tar(std::span<const uint8_t> bytes, const std::string& file);

// Returns a member's name as rows spell it: without ./ before it.
std::string member_name(std::string name);

}  // namespace vlm2vec
