#include "mmeb/evaluation/vector_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kKeyBytes = sizeof(Digest), kCheckBytes = sizeof(uint32_t);

uint32_t checksum(const char* record, int64_t bytes) {
  return uint32_t(crc32_z(0, reinterpret_cast<const Bytef*>(record), size_t(bytes - kCheckBytes)));
}
bool is_sound(const char* record, int64_t bytes) {
  uint32_t stored;
  std::memcpy(&stored, record + bytes - kCheckBytes, kCheckBytes);
  return stored == checksum(record, bytes);
}

// Other processes wait while it exists.
class FileLock {
 public:
  FileLock(int fd, const fs::path& path) : fd_(fd) {
    while (flock(fd_, LOCK_EX) != 0)
      if (errno != EINTR) fail(Exit::resources, path.string(), ": cannot be locked (", std::strerror(errno), ")");
  }
  ~FileLock() { flock(fd_, LOCK_UN); }
  FileLock(const FileLock&) = delete;

 private:
  int fd_;
};

void write_at(int fd, const fs::path& path, const std::string& bytes, int64_t offset) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = pwrite(fd, bytes.data() + done, bytes.size() - done, offset + int64_t(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      fail(Exit::resources, path.string(), ": writing failed (", std::strerror(errno), "); is the disk full?");
    done += size_t(n);
  }
}

// Returns the size in whole records, after cutting off a killed process's partial record. Needs the lock.
int64_t whole_size(int fd, const fs::path& path, int64_t record) {
  struct stat info {};
  if (fstat(fd, &info) != 0) fail(Exit::resources, path.string(), ": ", std::strerror(errno));
  const int64_t whole = info.st_size / record * record;
  if (whole != info.st_size && ftruncate(fd, whole) != 0)
    fail(Exit::resources, path.string(), ": cannot be truncated (", std::strerror(errno), ")");
  return whole;
}

}  // namespace

VectorFile::VectorFile(const fs::path& path, int64_t dim)
    : path_(path), dim_(dim), record_(kKeyBytes + dim * int64_t(sizeof(float)) + kCheckBytes) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(Exit::resources, path.string(), ": cannot be written (", std::strerror(errno), ")");
  try {
    open_records();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

VectorFile::~VectorFile() { ::close(fd_); }

void VectorFile::open_records() {
  const FileLock lock(fd_, path_);
  const int64_t size = whole_size(fd_, path_, record_);
  const auto file = MappedFile::open(path_);
  for (int64_t place = 0; place < size; place += record_) {
    const char* record = reinterpret_cast<const char*>(file->bytes().data()) + place;
    Digest key;
    std::memcpy(key.data(), record, kKeyBytes);
    if (is_sound(record, record_)) {
      places_.emplace(key, place);
    } else if (std::any_of(record, record + record_, [](char byte) { return byte != 0; })) {  // not yet dropped
      ++damaged_;
      write_at(fd_, path_, std::string(size_t(record_), '\0'), place);
    }
  }
}

bool VectorFile::find(const Digest& key, float* vector) const {
  const auto found = places_.find(key);
  if (found == places_.end()) return false;
  std::string record(size_t(record_), '\0');
  if (pread(fd_, record.data(), record.size(), found->second) != record_ || !is_sound(record.data(), record_) ||
      std::memcmp(record.data(), key.data(), kKeyBytes) != 0)
    return false;  // damaged since opening
  std::memcpy(vector, record.data() + kKeyBytes, size_t(dim_) * sizeof(float));
  return true;
}

void VectorFile::add(std::span<const Digest> keys, const float* vectors) {
  std::string records(keys.size() * size_t(record_), '\0');
  for (size_t i = 0; i < keys.size(); ++i) {
    char* record = records.data() + int64_t(i) * record_;
    std::memcpy(record, keys[i].data(), kKeyBytes);
    std::memcpy(record + kKeyBytes, vectors + int64_t(i) * dim_, size_t(dim_) * sizeof(float));
    const uint32_t check = checksum(record, record_);
    std::memcpy(record + record_ - kCheckBytes, &check, kCheckBytes);
  }
  const FileLock lock(fd_, path_);
  const int64_t end = whole_size(fd_, path_, record_);
  write_at(fd_, path_, records, end);
  for (size_t i = 0; i < keys.size(); ++i) places_[keys[i]] = end + int64_t(i) * record_;
}

}  // namespace vlm2vec
