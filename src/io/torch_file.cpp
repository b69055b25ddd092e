#include "io/torch_file.h"

#include <zip.h>

#include <memory>
#include <vector>

#include "io/error.h"
#include "io/files.h"
#include "io/pickle.h"

namespace vlm2vec {
namespace {

constexpr uint64_t kPickleLimit = 4 << 20;  // about 130 bytes describe a tensor

struct Close {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* entry) const { zip_fclose(entry); }
};

class Archive {
 public:
  explicit Archive(const std::filesystem::path& path)
      : file_(path.string()), left_(std::filesystem::is_regular_file(path) ? std::filesystem::file_size(path) : 0) {
    MappedFile::open(path);  // throws for a missing file or a git-lfs pointer
    int code = 0;
    archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
    if (archive_) return;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(Exit::data, file_, ": is not a file of torch.save in the zip format (", reason, "); is it complete?");
  }

  // The folder of the one entry that ends with "/data.pkl".
  std::string root() const {
    const std::string suffix = "/data.pkl";
    for (zip_int64_t i = 0; i < zip_get_num_entries(archive_.get(), 0); ++i) {
      const char* name = zip_get_name(archive_.get(), zip_uint64_t(i), ZIP_FL_ENC_RAW);
      if (name && std::string_view(name).ends_with(suffix))
        return std::string(name).substr(0, std::string_view(name).size() - suffix.size());
    }
    fail(Exit::data, file_, ": has no data.pkl; expected a file of torch.save");
  }

  bool contains(const std::string& name) const {
    return zip_name_locate(archive_.get(), name.c_str(), ZIP_FL_ENC_RAW) >= 0;
  }

  FileBytes read(const std::string& name) {
    zip_stat_t about;
    zip_stat_init(&about);
    if (zip_stat(archive_.get(), name.c_str(), ZIP_FL_ENC_RAW, &about) != 0)
      fail(Exit::data, file_, ": has no entry ", name, "; is it complete?");
    if (about.comp_method != ZIP_CM_STORE || about.size != about.comp_size || about.size > left_)
      fail(Exit::data, file_, ": ", name, " is compressed or claims more bytes than the file has");
    left_ -= about.size;  // entries that share their bytes cannot claim more than the file
    const auto bytes = std::make_shared<std::vector<uint8_t>>(about.size);
    const std::unique_ptr<zip_file_t, Close> entry(zip_fopen_index(archive_.get(), about.index, 0));
    char end;
    const bool whole = entry && zip_fread(entry.get(), bytes->data(), about.size) == zip_int64_t(about.size) &&
                       zip_fread(entry.get(), &end, 1) == 0;  // the CRC is checked at the end
    if (!whole) fail(Exit::data, file_, ": ", name, " cannot be read or its CRC is wrong; the file is damaged");
    return {*bytes, bytes};
  }

 private:
  std::string file_;
  uint64_t left_;
  std::unique_ptr<zip_t, Close> archive_;
};

}  // namespace

StoredArrays read_torch_file(const std::filesystem::path& path) {
  Archive archive(path);
  const std::string root = archive.root(), order = root + "/byteorder";
  if (archive.contains(order)) {
    const FileBytes word = archive.read(order);
    if (std::string(word.bytes.begin(), word.bytes.end()) != "little")
      fail(Exit::data, path.string(), ": its numbers are not little-endian");
  }
  const FileBytes pickle = archive.read(root + "/data.pkl");
  if (pickle.bytes.size() > kPickleLimit)
    fail(Exit::data, path.string(), ": data.pkl has ", pickle.bytes.size(), " bytes, the limit is ", kPickleLimit);
  return unpickle_tensors(pickle.bytes, path.string(),
                          [&](const PickledStorage& storage) { return archive.read(root + "/data/" + storage.key); });
}

}  // namespace vlm2vec
