// Whole files: reading, atomic writing, JSON. Errors name the file and, for JSON, the place.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace vlm2vec {

std::string read_text(const std::filesystem::path& path);  // reads a pipe to its end
nlohmann::json read_json(const std::filesystem::path& path);
std::string reason_of(const std::exception& json_error);  // its message without its number
template <class Json>
bool has_value(const Json& object, const char* field) {  // present and not null
  const auto found = object.find(field);
  return found != object.end() && !found->is_null();
}
// read_json() without null fields, which transformers writes for settings that are not set.
nlohmann::json read_settings(const std::filesystem::path& path);
// Returns how many fields the outermost object has in the text, equal names counted each. Throws Exit::data, beginning
// with `name`, for JSON nested deeper than 100 lists and objects, which would overflow the stack.
size_t check_nesting(std::string_view json, const std::string& name);

// When a written file is brought to the disk. Later: with the write_folder_atomically around it, or when the system
// does it, for files that may be lost.
enum class Sync { now, later };

// Writes beside the file and renames it into place. After an error or a power cut the old file or the new one is there,
// never half of one. Throws Exit::resources when the disk is full or the folder cannot be written.
// A link's target is replaced, not the link; pipes and devices are written to.
void write_atomically(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write,
                      Sync sync = Sync::now);
void write_text(const std::filesystem::path& path, std::string_view text, Sync sync = Sync::now);
void write_json(const std::filesystem::path& path,
                const nlohmann::json& value);  // indented by two, keys in alphabetical order

// Throws Exit::usage if a folder to be replaced holds anything but files of these names: it may be somebody's work.
// `what` says what the folder should be. An absent or empty folder is fine.
void check_replaceable(const std::filesystem::path& folder, const std::set<std::string>& names,
                       const std::string& what);

// Writes a folder that appears whole or not at all: fill() gets a temporary folder beside `path`, which then takes the
// place of `path`. All its files are on the disk before it has its name.
void write_folder_atomically(const std::filesystem::path& path,
                             const std::function<void(const std::filesystem::path&)>& fill);

void make_folder(const std::filesystem::path& folder);  // with its parents; throws Exit::resources

// Removes a folder and all in it, if it is there. A kill in the middle leaves nothing under the folder's name.
void remove_folder(const std::filesystem::path& folder);

// Replaces the folder `to` by `from`. If the file system can exchange two names, `to` is there at every moment; else
// the old folder lies under its name with kReplacedMark for a moment.
void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to, bool exchange = true);

// Follows the future name of a file or folder that is being written; the process number follows.
inline constexpr const char* kTemporaryMark = ".vlm2vec-tmp-";
// Follows the name of a folder that is being replaced.
inline constexpr const char* kReplacedMark = ".vlm2vec-replaced";

// Bytes of a file or a part of it, and their owner in memory.
struct FileBytes {
  std::span<const uint8_t> bytes;
  std::shared_ptr<const void> owner;
};

inline std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file mapped into memory, read-only.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  std::span<const uint8_t> bytes_;
};

}  // namespace vlm2vec
