// Checks before hours of work that a file or folder may be written. A command's inputs are never replaced. An existing
// file is replaced only if it begins like the new one.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

struct FileKind {
  const char* name;            // "a NumPy file"
  std::string_view beginning;  // of the text; in safetensors files after the 8 bytes of the header's length
};
inline constexpr FileKind kNpyFile = {"a NumPy file", "\x93NUMPY"};
inline constexpr FileKind kPngFile = {"a PNG file", "\x89PNG"};
inline constexpr FileKind kHtmlPage = {"an HTML page", "<!doctype html>"};
bool is_kind(const std::filesystem::path& file, const FileKind& kind);

// Throws Exit::usage for a folder, a file in `read`, or a file of another kind; empty files, pipes and devices count as
// any kind. Throws Exit::resources if the file cannot be written.
void check_output_file(const std::filesystem::path& output, const FileKind& kind,
                       const std::vector<std::filesystem::path>& read = {});

// Input folders of a command with names: {"the folder of the model itself", model_name}. Empty paths are ignored.
using ReadFolders = std::vector<std::pair<const char*, std::filesystem::path>>;
// Throws Exit::usage if `output` is a file, one of these folders, or a set's folder with its rows. `option` is e.g.
// "train: --output_dir".
void check_output_folder(const std::string& option, const std::filesystem::path& output, const ReadFolders& read);

// Throws Exit::usage unless `output` is absent, empty, or has only these files and weights of this kind.
void check_replaceable_weights(const std::filesystem::path& output, const std::set<std::string>& names,
                               const FileKind& kind);

}  // namespace vlm2vec
