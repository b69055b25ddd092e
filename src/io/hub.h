// Folders from the Hugging Face hub: names that were never downloaded, its cache, downloads that stopped halfway, and
// git-lfs pointers in place of files. Each fault becomes a sentence that says what to do.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace vlm2vec {

enum class HubKind { model, dataset };

// Throws Exit::data unless `path` is a folder; `expected` says of what ("a Hugging Face checkpoint"). A name on the hub
// is recognised by its one slash; for the hub's cache the error names the snapshot to use.
void require_folder(const std::filesystem::path& path, const std::string& expected, HubKind kind = HubKind::model);

// Returns advice if `name` may be a name or address of the hub: "and nothing is ever downloaded; … fetches it; then use
// FOLDER". Empty for paths.
std::string hub_hint(const std::string& name, HubKind kind = HubKind::model);

// Returns an ending for "X is missing": "; Y.incomplete is there: the download has not finished", or that X is a link
// to nothing. Empty if no download seems unfinished.
std::string download_hint(const std::filesystem::path& folder, const std::string& missing);

// Throws Exit::data if these bytes are the three lines that git keeps in place of a large file.
void refuse_lfs_pointer(std::span<const uint8_t> bytes, const std::string& name);
// Throws Exit::data if these bytes are the page that a server sent in place of the file.
void refuse_web_page(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace vlm2vec
