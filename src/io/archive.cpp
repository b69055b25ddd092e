#include "io/archive.h"

#include <sys/mman.h>
#include <zip.h>

#include <algorithm>
#include <climits>
#include <map>
#include <optional>
#include <vector>

#include "io/error.h"
#include "io/files.h"
#include "io/hub.h"
#include "io/parquet/parquet.h"
#include "io/tar.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};

// Returns the first folder of every name, if it is the same in all.
std::string common_top(const ArchiveIndex& index) {
  std::string top;
  for (const auto& [name, member] : index) {
    const std::string first = name.substr(0, name.find('/'));
    if (first.size() == name.size() || (!top.empty() && first != top)) return "";
    top = first;
  }
  return top;
}

constexpr std::string_view kParquet = ".parquet";

// Returns make(), kept for the next call unless the file has changed since.
template <class File, class Make>
std::shared_ptr<const File> kept_open(const fs::path& path, Make&& make) {
  struct Opened {
    fs::file_time_type changed;
    uint64_t size;
    std::shared_ptr<const File> file;
  };
  static std::mutex lock;
  static std::map<std::string, Opened> all;
  std::error_code missing;  // make() says it in a sentence
  const auto changed = fs::last_write_time(path, missing);
  const uint64_t size = fs::file_size(path, missing);
  std::lock_guard guard(lock);
  Opened& opened = all[path.string()];
  if (!opened.file || opened.changed != changed || opened.size != size) opened = {changed, size, make()};
  return opened.file;
}

std::shared_ptr<const ParquetFile> open_parquet(const fs::path& path) {
  return kept_open<ParquetFile>(path, [&] { return std::make_shared<const ParquetFile>(ParquetFile::open(path)); });
}

// The archive on a path, and the member that the rest names.
struct MemberPath {
  fs::path archive;
  std::string member;
};
std::optional<MemberPath> split_member_path(const fs::path& path) {
  if (path.native().size() >= PATH_MAX) return {};
  const std::string text = path.lexically_normal().generic_string();
  for (size_t slash = 0; (slash = text.find('/', slash + 1)) != text.npos;) {
    const std::string before = text.substr(0, slash);
    std::error_code none;
    if ((before.ends_with(".zip") || before.ends_with(".tar") || before.ends_with(kParquet)) &&
        fs::is_regular_file(before, none))
      return MemberPath{before, text.substr(slash + 1)};
  }
  return {};
}

using namespace std::string_view_literals;

constexpr std::pair<std::string_view, Packing> kPackings[] = {
    {"\x1F\x8B"sv, {"gzip", "gunzip"}},
    {"BZh"sv, {"bzip2", "bunzip2"}},
    {"\xFD"
     "7zXZ\0"sv,
     {"xz", "unxz"}},
    {"\x5D\0\0"sv, {"lzma", "unlzma"}},
    {"\x28\xB5\x2F\xFD"sv, {"zstd", "unzstd"}},
    {"\x04\x22\x4D\x18"sv, {"lz4", "unlz4"}},
    {"\x1F\x9D"sv, {"compress", "uncompress"}},
    {"7z\xBC\xAF\x27\x1C"sv, {"7z", nullptr}},
    {"Rar!\x1A\x07"sv, {"RAR", nullptr}},
    {"xar!"sv, {"XAR", nullptr}},
    {"!<arch>\n"sv, {"ar", nullptr}},
};

}  // namespace

const Packing* packing_of(std::string_view bytes) {
  constexpr std::string_view tar = "ustar";
  if (bytes.size() > 257 && bytes.substr(257).starts_with(tar)) return nullptr;  // a tar begins with any name
  for (const auto& [magic, packing] : kPackings)
    if (bytes.starts_with(magic)) return &packing;
  return nullptr;
}

std::string how_to_unpack(const fs::path& file) {
  const auto mapped = MappedFile::open(file);
  const std::span<const uint8_t> bytes = mapped->bytes();
  const Packing* packing = packing_of(as_text(bytes));
  if (!packing) return "";
  const auto& [name, tool] = *packing;
  return tool ? sentence("is compressed as a whole (", name, "): ", tool, " it to a .tar file, or unpack it")
              : sentence("is a ", name, " archive, which is not read: unpack it, or make a zip or tar file of it");
}

bool is_junk(const std::string& path) {
  const size_t slash = path.rfind('/');
  return path.compare(slash == path.npos ? 0 : slash + 1, 2, "._") == 0 || path.starts_with("__MACOSX/") ||
         path.find("/__MACOSX/") != path.npos;
}

void ArchiveFile::CloseZip::operator()(zip_t* archive) const { zip_discard(archive); }

ArchiveFile::ArchiveFile(const fs::path& path) : file_(path.string()) {
  const auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  file_size_ = bytes.size();
  if (const std::string how = how_to_unpack(path); !how.empty()) fail(Exit::data, file_, ": ", how);
  if (path.extension() == ".tar") {
    // Headers lie far apart: the system need not read ahead what is between them.
    void* const begin = const_cast<uint8_t*>(bytes.data());
    madvise(begin, bytes.size(), MADV_RANDOM);
    mapped_ = mapped, index_ = index_tar(bytes, file_);
    madvise(begin, bytes.size(), MADV_NORMAL);
  } else {
    open_zip();
  }
  top_ = common_top(index_);
}

void ArchiveFile::open_zip() {
  int code = 0;
  zip_.reset(zip_open(file_.c_str(), ZIP_RDONLY, &code));
  if (!zip_) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(Exit::data, file_, ": is not a zip file that can be read (", reason, "); is the download complete?");
  }
  const zip_int64_t count = zip_get_num_entries(zip_.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* stored = zip_get_name(zip_.get(), zip_uint64_t(i), ZIP_FL_ENC_RAW);
    if (!stored) fail(Exit::data, file_, ": member ", i + 1, " has no name; the file is damaged");
    const std::string name = member_name(stored);
    if (!is_junk(name) && !name.ends_with('/')) index_[name] = {uint64_t(i)};
  }
}

std::shared_ptr<const ArchiveFile> ArchiveFile::open(const fs::path& path) {
  return kept_open<ArchiveFile>(path, [&] { return std::make_shared<const ArchiveFile>(path); });
}

FileBytes ArchiveFile::read(const std::string& member, uint64_t most) const {
  const FileBytes content = read_member(member, most);
  refuse_lfs_pointer(content.bytes, file_ + "/" + member);
  return content;
}

FileBytes ArchiveFile::read_member(const std::string& member, uint64_t most) const {
  const auto found = index_.find(member);
  if (found == index_.end()) fail(Exit::data, file_, ": has no member ", member);
  if (zip_) return read_zip(member, found->second.at, most);
  if (found->second.size > most)
    fail(Exit::data, file_, "/", member, ": has ", found->second.size, " bytes; at most ", most, " are read");
  return {mapped_->bytes().subspan(found->second.at, found->second.size), mapped_};
}

FileBytes ArchiveFile::read_zip(const std::string& member, uint64_t number, uint64_t most) const {
  const std::string name = file_ + "/" + member;
  std::lock_guard guard(lock_);
  zip_stat_t about;
  zip_stat_init(&about);
  if (zip_stat_index(zip_.get(), number, 0, &about) != 0) fail(Exit::data, name, ": cannot be read; it is damaged");
  if (about.encryption_method != ZIP_EM_NONE)
    fail(Exit::data, name, ": is encrypted; unpack the archive with its password");
  if (!zip_compression_method_supported(about.comp_method, 0))
    fail(Exit::data, name, ": is compressed by method ", about.comp_method,
         ", which libzip does not read; unpack the archive");
  if (about.size > most)
    fail(Exit::data, name, ": claims ", about.size, " bytes; at most ", most, " are read; is the archive damaged?");
  if (about.comp_size > std::min(file_size_, 2 * most))
    fail(Exit::data, name, ": claims ", about.comp_size, " bytes of a file that has ", file_size_, "; it is damaged");
  std::unique_ptr<zip_file_t, CloseMember> file(zip_fopen_index(zip_.get(), number, 0));
  if (!file) fail(Exit::data, name, ": cannot be read (", zip_strerror(zip_.get()), "); the archive is damaged");
  const auto bytes = std::make_shared<std::vector<uint8_t>>();
  const uint64_t size = about.size;
  uint64_t filled = 0;
  zip_int64_t count = 1;
  // Memory grows with the bytes that come, not with the claim.
  for (uint64_t room = std::max<uint64_t>(about.comp_size, 1 << 16); filled < size && count > 0; room *= 2) {
    bytes->resize(std::min<uint64_t>(room, size));
    while (filled < bytes->size() &&
           (count = zip_fread(file.get(), bytes->data() + filled, bytes->size() - filled)) > 0)
      filled += uint64_t(count);
  }
  char end;
  if (filled == size) count = zip_fread(file.get(), &end, 1);  // where the CRC is checked
  if (count > 0) fail(Exit::data, name, ": has more bytes than the ", size, " it claims; the archive is damaged");
  if (count < 0 || filled < size)
    fail(Exit::data, name, ": cannot be read (", count < 0 ? zip_file_strerror(file.get()) : "it ends early",
         "); the archive is damaged");
  return {*bytes, bytes};
}

bool is_file_or_member(const fs::path& path) {
  std::error_code unreadable;
  if (fs::is_regular_file(path, unreadable)) return true;
  const auto inside = split_member_path(path);
  if (!inside) return false;
  return inside->archive.extension() == kParquet ? open_parquet(inside->archive)->contains(inside->member)
                                                 : ArchiveFile::open(inside->archive)->contains(inside->member);
}

FileBytes read_file_or_member(const fs::path& path, uint64_t most) {
  if (const auto inside = split_member_path(path))
    return inside->archive.extension() == kParquet ? open_parquet(inside->archive)->read_value(inside->member, most)
                                                   : ArchiveFile::open(inside->archive)->read(inside->member, most);
  const auto file = MappedFile::open(path);
  return {file->bytes(), file};
}

}  // namespace vlm2vec
