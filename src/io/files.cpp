#include "io/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/folder_lock.h"
#include "io/hub.h"
#include "io/text.h"

namespace vlm2vec {
namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  if (std::error_code none; fs::is_fifo(path, none)) {
    std::ifstream pipe(path);
    return {std::istreambuf_iterator<char>(pipe), {}};
  }
  const auto file = MappedFile::open(path);
  return std::string(as_text(file->bytes()));
}

size_t check_nesting(std::string_view json, const std::string& name) {
  int depth = 0;
  size_t fields = 0;
  bool in_text = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text) {
      if (c == '\\') ++i;
      else if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 100) fail(Exit::data, name, ": lists and objects are nested deeper than 100; is the file damaged?");
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ':' && depth == 1) {
      ++fields;
    }
  }
  return fields;
}

std::string reason_of(const std::exception& json_error) {
  const std::string text = json_error.what();
  const size_t end = text.starts_with("[json.exception") ? text.find("] ") : text.npos;
  return end == text.npos ? text : text.substr(end + 2);
}

nlohmann::json read_json(const fs::path& path) {
  const auto file = MappedFile::open(path);
  check_nesting(as_text(file->bytes()), path.string());
  try {
    return nlohmann::json::parse(file->bytes().begin(), file->bytes().end());
  } catch (const nlohmann::json::parse_error& e) {
    refuse_web_page(file->bytes(), path.string());
    fail(Exit::data, path.string(), ": not valid JSON near byte ", e.byte, "; is the file complete?");
  } catch (const nlohmann::json::exception& e) {  // a number that no type can hold
    fail(Exit::data, path.string(), ": not valid JSON: ", reason_of(e));
  }
}

nlohmann::json read_settings(const fs::path& path) {
  nlohmann::json settings = read_json(path);
  const std::function<void(nlohmann::json&)> drop_nulls = [&](nlohmann::json& value) {
    if (!value.is_object()) return;
    for (auto field = value.begin(); field != value.end();)
      if (field->is_null()) field = value.erase(field);
      else drop_nulls(*field++);
  };
  drop_nulls(settings);
  return settings;
}

namespace {

// Returns when a file or a folder's list of names (fsync) or a whole file system (syncfs) is on the disk.
void bring_to_disk(const fs::path& path, int (*sync)(int) = fsync) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = fd >= 0 && (sync(fd) == 0 || errno == EINVAL);  // EINVAL: the file system has no such thing
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!done) fail(Exit::resources, path.string(), ": cannot be brought to the disk (", std::strerror(error), ")");
}

}  // namespace

void write_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write, Sync sync) {
  const auto write_to = [&](const fs::path& file) {
    std::ofstream out(file, std::ios::binary);
    if (!out) fail(Exit::resources, path.string(), ": cannot be written (", std::strerror(errno), ")");
    write(out);
    out.close();
    if (!out) fail(Exit::resources, path.string(), ": writing failed (", std::strerror(errno), "); is the disk full?");
  };
  const fs::path target = fs::exists(path) ? fs::canonical(path) : path;  // a link's target, not the link
  if (fs::exists(target) && !fs::is_regular_file(target)) return write_to(target);  // a pipe or a device stays one
  fs::path temporary = target;
  temporary += kTemporaryMark + std::to_string(getpid());
  try {
    write_to(temporary);
    if (sync == Sync::now) bring_to_disk(temporary);
    fs::rename(temporary, target);
    if (sync == Sync::now) bring_to_disk(fs::absolute(target).parent_path());
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void write_text(const fs::path& path, std::string_view text, Sync sync) {
  write_atomically(
      path, [&](std::ostream& out) { out << text; }, sync);
}

void write_json(const fs::path& path, const nlohmann::json& value) {
  write_text(path, value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void check_replaceable(const fs::path& folder, const std::set<std::string>& names, const std::string& what) {
  if (!fs::exists(fs::symlink_status(folder))) return;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (!names.contains(entry.path().filename().string()))
      fail(Exit::usage, folder.string(), ": holds ", entry.path().filename(), ", which does not belong to ", what,
           "; name another folder or empty it");
  if (error)
    fail(Exit::usage, folder.string(), ": cannot be read (", error.message(), "); name a folder for --output_dir");
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    fail(Exit::resources, folder.string(), ": cannot create the folder (", error ? error.message() : "it is a file",
         "); choose another one");
}

void remove_folder(const fs::path& folder) {
  if (!fs::exists(fs::symlink_status(folder))) return;
  fs::path temporary = folder;
  temporary += kTemporaryMark + std::to_string(getpid());
  fs::remove_all(temporary);
  fs::rename(folder, temporary);
  fs::remove_all(temporary);
}

void replace_folder(const fs::path& from, const fs::path& to, bool exchange) {
  if (!fs::exists(to)) {
    fs::rename(from, to);
    return bring_to_disk(to.parent_path());
  }
  if (exchange && renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    bring_to_disk(to.parent_path());
    fs::remove_all(from);
    return;
  }
  fs::path replaced = to;
  replaced += kReplacedMark;
  fs::remove_all(replaced);
  fs::rename(to, replaced);
  fs::rename(from, to);
  bring_to_disk(to.parent_path());
  fs::remove_all(replaced);
}

void write_folder_atomically(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const fs::path target = fs::absolute(path).lexically_normal();
  const fs::path clean = target.has_filename() ? target : target.parent_path();
  fs::path temporary = clean;
  temporary += kTemporaryMark + std::to_string(getpid());
  try {
    remove_leftovers(clean.parent_path(), clean.filename());
    fs::create_directories(temporary);
    fill(temporary);
    bring_to_disk(temporary, syncfs);
    replace_folder(temporary, clean);
  } catch (const fs::filesystem_error& e) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    fail(Exit::resources, clean.string(), ": cannot be written (", e.code().message(), ")");
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer does not wait
  if (fd < 0) fail(Exit::data, one_line(path.string(), 300), ": ", std::strerror(errno));
  struct stat info {};
  fstat(fd, &info);
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    fail(Exit::data, path.string(), ": not a file");
  }
  void* p = nullptr;
  if (info.st_size > 0) p = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (p == MAP_FAILED)
    fail(Exit::resources, path.string(), ": cannot be mapped into memory (", std::strerror(errno), ")");
  const std::shared_ptr<const MappedFile> file(new MappedFile({static_cast<const uint8_t*>(p), size_t(info.st_size)}));
  refuse_lfs_pointer(file->bytes(), path.string());
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace vlm2vec
