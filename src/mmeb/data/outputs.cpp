#include "mmeb/data/outputs.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "io/error.h"
#include "io/files.h"
#include "mmeb/data/row_files.h"

namespace vlm2vec {
namespace fs = std::filesystem;

bool is_kind(const fs::path& file, const FileKind& kind) {
  constexpr size_t kLength = 8;
  std::string text(kLength + kind.beginning.size(), '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(in.gcount()));
  return text.starts_with(kind.beginning) ||
         (text.size() > kLength && text.compare(kLength, text.npos, kind.beginning) == 0);
}

void check_output_file(const fs::path& output, const FileKind& kind, const std::vector<fs::path>& read) {
  std::error_code ignored;
  const fs::path folder = fs::absolute(output).parent_path();
  if (fs::is_directory(output)) fail(Exit::usage, output.string(), ": is a folder; name a file");
  for (const fs::path& input : read)
    if (fs::equivalent(output, input, ignored)) fail(Exit::usage, output.string(), ": is the input; name another file");
  if (fs::is_regular_file(output) && !fs::is_empty(output) && !is_kind(output, kind))
    fail(Exit::usage, output.string(), ": already exists and is not ", kind.name, "; name another file, or remove it");
  if (!fs::is_directory(folder))
    fail(Exit::resources, output.string(), ": cannot be written: no such folder: ", folder.string());
  if (::access(fs::exists(output) ? output.c_str() : folder.c_str(), W_OK) != 0)
    fail(Exit::resources, output.string(), ": cannot be written (", std::strerror(errno), ")");
}

void check_output_folder(const std::string& option, const fs::path& output, const ReadFolders& read) {
  std::error_code ignored;
  if (fs::exists(output) && !fs::is_directory(output))
    fail(Exit::usage, option, ": ", output.string(), " is a file; name a folder");
  for (const auto& [what, folder] : read)
    if (fs::equivalent(folder, output, ignored))
      fail(Exit::usage, option, " is ", what, ", ", folder.string(), "; choose another");
  for (const char* split : {"original", "diverse_instruction", "test"})
    if (!row_files(output / (std::string(split) + ".jsonl")).empty())
      fail(Exit::usage, option, ": ", output.string(), " has the rows of a data set; choose another folder");
}

void check_replaceable_weights(const fs::path& output, const std::set<std::string>& names, const FileKind& kind) {
  if (fs::exists(output) && !fs::is_directory(output))
    fail(Exit::usage, "--output_dir: ", output.string(), " is a file; name a folder");
  check_replaceable(output, names, "a checkpoint");
  if (!fs::exists(output) || fs::is_empty(output)) return;
  bool ours = false;
  for (const auto& entry : fs::directory_iterator(output))
    if (entry.path().extension() == ".safetensors" && !(ours = is_kind(entry.path(), kind))) break;
  if (!ours)
    fail(Exit::usage, "--output_dir: ", output.string(), " has another model, not ", kind.name,
         "; choose another folder, or remove this one");
}

}  // namespace vlm2vec
