#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "io/files.h"
#include "io/hub.h"
#include "io/torch_file.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
constexpr uint64_t kHeaderLimit = 100'000'000;

struct Entry {
  std::string name;
  StoredArray array;
  uint64_t begin, end;
};

using Event = json::parse_event_t;

// Parses JSON and refuses a key that an object has twice: nlohmann would keep the last. `keep` sees every event (depth:
// how many objects and lists are around) and says whether the value is kept. `place` begins every error.
json parse(const std::string& place, std::string_view text,
           const std::function<bool(int depth, Event event, json& value)>& keep) {
  std::vector<std::set<std::string>> seen;  // in each object around
  const auto see = [&](int depth, Event event, json& value) {
    if (event == Event::object_start) seen.emplace_back();
    if (event == Event::key && !seen.back().insert(value.get<std::string>()).second)
      fail(Exit::data, place, " has the key ", value.dump(), " twice");
    if (event == Event::object_end) seen.pop_back();
    return keep(depth, event, value);
  };
  try {
    return json::parse(text, see);
  } catch (const json::parse_error& e) {
    fail(Exit::data, place, " is not valid JSON near byte ", e.byte, "; is the file complete?");
  } catch (const json::exception& e) {  // a number that no type can hold
    fail(Exit::data, place, " cannot be read: ", reason_of(e));
  }
}

[[noreturn]] void refuse_entry(const std::string& name, const std::string& file) {
  fail(Exit::data, file, ": the entry of ", name, " is not {dtype, shape, data_offsets}");
}

Entry parse_entry(const std::string& name, const json& value, const std::string& file) {
  try {
    const auto natural = [](const json& v) { return v.get_ref<const uint64_t&>(); };  // an error for −1 and for 1.5
    const json& offsets = value.at("data_offsets");
    Entry e{name, {}, natural(offsets.at(0)), natural(offsets.at(1))};
    const std::string type = value.at("dtype").get<std::string>();
    e.array.type = find_type(&StoredType::name, type);
    if (!e.array.type)
      fail(Exit::data, file, ": ", name, " has type ", type,
           "; this program reads F32, BF16, F16, F64, I32, I64 and U8",
           type.starts_with("F8") || type.starts_with("F4") || type == "I8"
               ? "; quantised weights are not read: take the model that they were made from"
               : "");
    uint64_t size = uint64_t(e.array.type->size);
    constexpr uint64_t most = uint64_t(1) << 50;
    for (const json& d : value.at("shape").get_ref<const json::array_t&>()) {
      const uint64_t n = natural(d);
      if (n > most || size > most / std::max<uint64_t>(n, 1))
        fail(Exit::data, file, ": ", name, " has an impossible shape ", value.at("shape").dump());
      e.array.shape.push_back(int64_t(n));
      size *= n;
    }
    if (value.size() != 3 || offsets.size() != 2) refuse_entry(name, file);
    if (e.end < e.begin || e.end - e.begin != size)
      fail(Exit::data, file, ": ", name, " has ", int64_t(e.end - e.begin), " bytes, its shape and type need ", size);
    return e;
  } catch (const json::exception&) {
    refuse_entry(name, file);
  }
}

// Keeps only the current entry of the parsed text: a header takes memory in proportion to its tensors.
std::vector<Entry> parse_header(std::string_view text, const std::string& file) {
  if (!text.starts_with('{')) fail(Exit::data, file, ": the header does not begin with {; is this a safetensors file?");
  std::vector<Entry> entries;
  std::string name;
  int numbers = 0;  // in the lists of this entry
  parse(file + ": the header", text, [&](int depth, Event event, json& value) {
    if (event == Event::key && depth == 1) name = value.get<std::string>(), numbers = 0;
    const bool container = event == Event::object_start || event == Event::array_start;
    if ((depth == 1 && (event == Event::value || event == Event::array_start)) || (depth > 2 && container) ||
        (depth == 3 && ++numbers > 64))
      refuse_entry(name, file);
    if (event != Event::object_end || depth != 1) return true;
    if (name != "__metadata__") {
      entries.push_back(parse_entry(name, value, file));
    } else {
      for (const auto& [key, text] : value.items())
        if (!text.is_string())
          fail(Exit::data, file, ": ", key, " of __metadata__ is ", text.dump(), ", expected a text");
    }
    return false;
  });
  return entries;
}

}  // namespace

StoredArrays read_safetensors(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::span<const uint8_t> bytes = file->bytes();
  uint64_t length = 0;
  refuse_web_page(bytes, path.string());
  if (bytes.size() < 8)
    fail(Exit::data, path.string(), ": ", bytes.size(), " bytes are too few for a safetensors file");
  std::memcpy(&length, bytes.data(), 8);
  if (length > kHeaderLimit || length > bytes.size() - 8)
    fail(Exit::data, path.string(), ": the header claims ", length, " bytes (the file has ", bytes.size(),
         ", the limit is ", kHeaderLimit, "); is this a complete safetensors file?");
  std::vector<Entry> entries = parse_header({reinterpret_cast<const char*>(bytes.data()) + 8, length}, path.string());
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  const uint8_t* data = bytes.data() + 8 + length;
  const uint64_t size = bytes.size() - 8 - length;
  uint64_t position = 0;
  StoredArrays arrays;
  for (Entry& e : entries) {
    if (e.begin != position)
      fail(Exit::data, path.string(), ": ", e.name, " begins at byte ", e.begin, " of the data, expected ", position,
           e.begin < position ? " (tensors overlap)" : " (there is a gap)");
    if (e.end > size)
      fail(Exit::data, path.string(), ": ", e.name, " ends at byte ", e.end, " of ", size, "; the file is cut off");
    position = e.end;
    e.array.data = {{data + e.begin, e.end - e.begin}, file};
    arrays.emplace(e.name, std::move(e.array));
  }
  if (position != size) fail(Exit::data, path.string(), ": ", size - position, " bytes after the last tensor");
  return arrays;
}

void write_safetensors(const std::filesystem::path& path, const StoredArrays& arrays,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(const std::string& name, std::ostream& out)>& write) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, array] : arrays) {
    const uint64_t end = offset + uint64_t(array.bytes());
    header[name] = {{"dtype", array.type->name}, {"shape", array.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  write_atomically(path, [&](std::ostream& out) {
    const uint64_t length = text.size();
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text;
    for (const auto& [name, array] : arrays) write(name, out);
  });
}

std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const std::string text = read_text(index);
  check_nesting(text, index.string());
  const json content = parse(index.string() + ":", text, [](int, Event, json&) { return true; });
  const auto found = content.find("weight_map");
  if (found == content.end() || !found->is_object())
    fail(Exit::data, index.string(), ": has no weight_map; expected {tensor: file}");
  std::map<std::string, std::string> map;
  for (const auto& [name, value] : found->items()) {
    std::string& file = map[name] = value.is_string() ? value.get<std::string>() : "";
    if (file.empty() || file.find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      fail(Exit::data, index.string(), ": ", name, " is in ", value.dump(), ", expected a file of this folder");
  }
  return map;
}

StoredArrays read_weights(const std::filesystem::path& file) {
  if (file.extension() == ".pth") return read_torch_file(file, "model");
  return file.extension() == ".bin" ? read_torch_file(file) : read_safetensors(file);
}

WeightsFile weights_file(const std::filesystem::path& folder) {
  for (const char* name :
       {"model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"}) {
    if (std::filesystem::exists(folder / name)) return {name, false};
    if (const std::string index = name + std::string(".index.json"); std::filesystem::exists(folder / index))
      return {index, true};
  }
  std::vector<std::string> saved;  // by a training run of UniIR
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(folder, unreadable))
    if (entry.path().extension() == ".pth") saved.push_back(entry.path().filename());
  return saved.size() == 1 ? WeightsFile{saved[0], false} : WeightsFile{};
}

StoredArrays read_checkpoint(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    fail(Exit::data, folder.string(), ": no such folder; expected a Hugging Face checkpoint");
  const WeightsFile found = weights_file(folder);
  if (found.name.empty())
    fail(Exit::data, folder.string(),
         ": neither model.safetensors nor model.safetensors.index.json is there, nor pytorch_model.bin");
  if (!found.is_index) return read_weights(folder / found.name);
  const auto map = read_weight_map(folder / found.name);
  std::set<std::string> files;
  for (const auto& [name, file] : map) files.insert(file);
  StoredArrays arrays;
  for (const std::string& file : files)
    for (auto& [name, array] : read_weights(folder / file)) {
      if (const auto said = map.find(name); said == map.end() || said->second != file)
        fail(Exit::data, (folder / file).string(), ": ", name, " is here, which the index does not say");
      arrays.emplace(name, array);
    }
  for (const auto& [name, file] : map)
    if (!arrays.contains(name))
      fail(Exit::data, (folder / file).string(), ": ", name, " is missing, which the index says is here");
  return arrays;
}

}  // namespace vlm2vec
