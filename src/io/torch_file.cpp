#include "io/torch_file.h"

#include <map>

#include "io/archive.h"
#include "io/error.h"
#include "io/pickle.h"

namespace vlm2vec {
namespace {

constexpr uint64_t kPickleLimit = 4 << 20;  // about 130 bytes describe a tensor

}  // namespace

StoredArrays read_torch_file(const std::filesystem::path& path, const std::string& part) {
  const std::string file = path.string();
  const auto mapped = MappedFile::open(path);
  if (!as_text(mapped->bytes()).starts_with("PK"))
    fail(Exit::data, file, ": is not a file of torch.save in the zip format; is it complete?");
  const ArchiveFile archive(path);
  const std::string root = archive.top(), order = root + "/byteorder", pickle = root + "/data.pkl";
  if (!archive.contains(pickle)) fail(Exit::data, file, ": has no data.pkl; expected a file of torch.save");
  if (archive.contains(order) && as_text(archive.read(order, 16).bytes) != "little")
    fail(Exit::data, file, ": its numbers are not little-endian");
  uint64_t left = mapped->bytes().size();  // entries that share their bytes cannot claim more than the file
  const FileBytes program = archive.read(pickle, std::min(left, kPickleLimit));
  std::map<std::string, FileBytes> storages;  // tensors may share one
  return unpickle_tensors(
      program.bytes, file,
      [&](const PickledStorage& storage) {
        if (const auto known = storages.find(storage.key); known != storages.end()) return known->second;
        const FileBytes numbers = archive.read(root + "/data/" + storage.key, left);
        left -= numbers.bytes.size();
        return storages.emplace(storage.key, numbers).first->second;
      },
      part);
}

}  // namespace vlm2vec
