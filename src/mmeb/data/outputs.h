// Before hours of work: may this file or folder be written? What a command reads is never replaced, and an existing
// file only if it begins as the new one will.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

struct FileKind {
  const char* name;            // "a NumPy file"
  std::string_view beginning;  // of its text; in a safetensors file after the 8 bytes of the header's length
};
inline constexpr FileKind kNpyFile = {"a NumPy file", "\x93NUMPY"};
inline constexpr FileKind kPngFile = {"a PNG file", "\x89PNG"};
inline constexpr FileKind kHtmlPage = {"an HTML page", "<!doctype html>"};
bool is_kind(const std::filesystem::path& file, const FileKind& kind);

// Exit::usage for a folder, for one of the files that are `read`, and for a file of another kind; an empty file, a pipe
// or a device is of every kind. Exit::resources if it cannot be written.
void check_output_file(const std::filesystem::path& output, const FileKind& kind,
                       const std::vector<std::filesystem::path>& read = {});

// What a command reads, by its name: {"the folder of the model itself", model_name}. Empty paths are no folders.
using ReadFolders = std::vector<std::pair<const char*, std::filesystem::path>>;
// Exit::usage if `output` is a file, one of these folders, or a set's folder with its rows. `option`: "train:
// --output_dir".
void check_output_folder(const std::string& option, const std::filesystem::path& output, const ReadFolders& read);

// Exit::usage unless `output` is absent, empty, or a folder of these files whose weights are of this kind.
void check_replaceable_weights(const std::filesystem::path& output, const std::set<std::string>& names,
                               const FileKind& kind);

}  // namespace vlm2vec
