#include "mmeb/search/vector_index.h"

#include <nlohmann/json.hpp>
#include <type_traits>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"
#include "tensor/io/npy.h"
#include "tensor/io/sha256.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

fs::path origin_file(const fs::path& vectors) { return vectors.string() + ".json"; }

// As seen from the folder of `vectors`, so that the two can be moved together.
std::string relative_path(const fs::path& path, const fs::path& vectors) {
  return fs::proximate(path.empty() ? "." : path, fs::absolute(vectors).parent_path()).string();
}

}  // namespace

void write_origin(const fs::path& vectors, const VectorOrigin& origin, const Tensor& made) {
  nlohmann::json how = {{"prompt", origin.prompt},
                        {"rows", made.rows()},
                        {"dimensions", made.columns()},
                        {"model_sha256", origin.model_sha256}};
  ModelOptions(origin.model).fields([&](const char* name, const auto& value, const char*) { how[name] = value; });
  if (!origin.input.empty()) {
    how["input"] = relative_path(origin.input, vectors);
    how["input_sha256"] = origin.input_sha256;
    how["image_dir"] = relative_path(origin.image_dir, vectors);
  }
  write_json(origin_file(vectors), how);
}

VectorIndex open_index(const fs::path& vectors) {
  VectorIndex index{vectors, read_npy(vectors), {}};
  if (index.vectors.shape().size() != 2 || index.vectors.dtype() != DType::f32 || index.vectors.numel() == 0)
    fail(Exit::data, vectors.string(), ": holds ", index.vectors, ", expected f32 [rows, dimensions] as embed writes");
  const fs::path file = origin_file(vectors);
  if (!fs::exists(file))
    fail(Exit::data, file.string(), ": is not there; embed writes it beside the vectors, to say how they were made");
  const nlohmann::json how = read_json(file);
  try {
    VectorOrigin& origin = index.origin;
    origin.prompt = how.at("prompt");
    origin.model_sha256 = how.at("model_sha256");
    origin.model.fields([&](const char* name, auto& value, const char*) {
      value = how.at(name).template get<std::remove_reference_t<decltype(value)>>();
    });
    if (how.contains("input")) {
      origin.input = vectors.parent_path() / how["input"].get<std::string>();
      origin.input_sha256 = how.at("input_sha256");
      origin.image_dir = vectors.parent_path() / how.at("image_dir").get<std::string>();
    }
    if (how.at("rows") != index.vectors.rows() || how.at("dimensions") != index.vectors.columns())
      fail(Exit::data, file.string(), ": says ", how["rows"], " rows of ", how["dimensions"], " dimensions, but ",
           vectors.string(), " holds ", index.vectors, "; embed again");
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, file.string(), ": is not what embed writes beside its vectors; embed again");
  }
  return index;
}

void require_same_model(const VectorIndex& index, const VectorIndex& queries) {
  const auto differ = [&](const std::string& what) {
    fail(Exit::data, queries.file.string(), ": was made with another ", what, " than ", index.file.string(),
         "; their scores would mean nothing");
  };
  if (index.origin.model_sha256 != queries.origin.model_sha256) differ("model");
  nlohmann::json options;
  ModelOptions(index.origin.model).fields([&](const char* name, const auto& value, const char*) {
    options[name] = value;
  });
  ModelOptions(queries.origin.model).fields([&](const std::string& name, const auto& value, const char*) {
    const bool said_by_hash = name == "model_name" || name == "adapter", printed = name == "adapter_norms";
    if (!said_by_hash && !printed && options[name] != value) differ("--" + name);
  });
}

std::vector<InputRow> rows_of(const VectorIndex& index, const std::vector<int64_t>& numbers, const Pictures& pictures) {
  const fs::path& file = index.origin.input;
  if (file.empty()) return {};
  if (!fs::exists(file))
    fail(Exit::data, file.string(), ": the rows of ", index.file.string(), " are not there any more; embed again");
  if (hash_of_file(file) != index.origin.input_sha256)
    fail(Exit::data, file.string(), ": has changed since ", index.file.string(), " was made from it; embed again");
  std::unordered_map<int64_t, InputRow> found;
  for (const int64_t number : numbers) found[number];
  int64_t number = 0;
  read_json_lines(file, [&](const nlohmann::ordered_json& row) {
    if (const auto wanted = found.find(number++); wanted != found.end()) wanted->second = input_row(row, pictures);
  });
  std::vector<InputRow> rows;
  for (const int64_t wanted : numbers) rows.push_back(found.at(wanted));
  return rows;
}

}  // namespace vlm2vec
