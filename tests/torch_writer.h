// Files of torch.save for tests: pickles instruction by instruction, in a zip file.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "archive_writer.h"
#include "tensor/tensor_files.h"

namespace vlm2vec::torch_writer {

inline std::string four_bytes(size_t n) { return {char(n), char(n >> 8), char(n >> 16), char(n >> 24)}; }
inline std::string text(const std::string& s) { return "X" + four_bytes(s.size()) + s; }
inline std::string number(int n) { return n < 256 ? std::string("K") + char(n) : "J" + four_bytes(size_t(n)); }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple(const std::vector<int64_t>& numbers) {
  std::string code = "(";
  for (const int64_t n : numbers) code += number(int(n));
  return code + "t";
}
// `count`: numbers of the whole storage; `key`: the name of the storage's member.
inline std::string tensor(const std::string& type, int count, int offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& strides, const std::string& key = "0") {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") + global("torch", type) + text(key) +
         text("cpu") + number(count) + "tQ" + number(offset) + tuple(shape) + tuple(strides) + "\x89" +
         global("collections", "OrderedDict") + ")RtR";
}
inline std::string entry(const std::string& name, const std::string& value) { return text(name) + value; }
inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

// f32 or bf16. Tensors with the same memory share one storage, as tied weights do after torch.save.
inline void save_torch_file(const std::filesystem::path& path, const NamedTensors& tensors) {
  std::map<const void*, std::string> keys;
  Members members{{"archive/data.pkl", ""}, {"archive/byteorder", "little"}};
  std::string entries;
  for (const auto& [name, x] : tensors) {
    const auto [key, fresh] = keys.try_emplace(x.raw(), std::to_string(keys.size()));
    if (fresh)
      members.emplace_back("archive/data/" + key->second,
                           std::string(static_cast<const char*>(x.raw()), size_t(x.bytes())));
    const std::string type = x.dtype() == DType::bf16 ? "BFloat16Storage" : "FloatStorage";
    std::vector<int64_t> strides(x.shape().size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * x.shape()[i];
    entries += entry(name, tensor(type, int(x.numel()), 0, x.shape(), strides, key->second));
  }
  members[0].second = pickle("}(" + entries + "u");
  write_zip(path, members, ZIP_CM_STORE);
}

}  // namespace vlm2vec::torch_writer
