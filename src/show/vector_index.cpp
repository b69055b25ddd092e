#include "show/vector_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "io/error.h"
#include "io/files.h"
#include "io/json_lines.h"
#include "io/sha256.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

fs::path origin_file(const fs::path& vectors) { return vectors.string() + ".json"; }

// Writes a path relative to the folder of `vectors`, and the absolute path.
void write_place(nlohmann::json& how, const std::string& name, const fs::path& path, const fs::path& vectors) {
  const fs::path place = path.empty() ? "." : path;
  how[name] = fs::proximate(place, fs::absolute(vectors).parent_path()).string();
  how["absolute"][name] = fs::absolute(place).lexically_normal().string();
}

// Returns the first of the two paths that exists.
std::string read_place(const nlohmann::json& how, const std::string& name, const fs::path& vectors) {
  const std::string near = how.at(name);
  const std::string whole = how.value("absolute", nlohmann::json::object()).value(name, near);
  const fs::path beside = vectors.parent_path() / near;
  return fs::exists(beside) ? beside.string() : whole;
}

}  // namespace

void write_origin(const fs::path& vectors, const VectorOrigin& origin, const Tensor& made) {
  nlohmann::json how = {{"prompt", origin.prompt},
                        {"device", origin.device},
                        {"rows", made.rows()},
                        {"dimensions", made.columns()},
                        {"model_sha256", origin.model_sha256}};
  ModelOptions(origin.model).fields([&](const char* name, const auto& value, const char*) { how[name] = value; });
  write_place(how, "model_name", origin.model.model_name, vectors);
  if (!origin.model.adapter.empty()) write_place(how, "adapter", origin.model.adapter, vectors);
  if (!origin.input.empty()) {
    write_place(how, "input", origin.input, vectors);
    write_place(how, "image_dir", origin.image_dir, vectors);
    how["input_sha256"] = origin.input_sha256;
  }
  for (const int64_t row : origin.skipped_rows) how["skipped_rows"].push_back(row + 1);
  write_json(origin_file(vectors), how);
}

int64_t VectorIndex::input_row(int64_t vector) const {
  int64_t row = vector;
  for (const int64_t skipped : origin.skipped_rows) row += skipped <= row;
  return row;
}

VectorIndex open_index(const fs::path& vectors) {
  VectorIndex index{vectors, read_npy(vectors), {}};
  if (index.vectors.shape().size() != 2 || index.vectors.dtype() != DType::f32 || index.vectors.numel() == 0)
    fail(Exit::data, vectors.string(), ": holds ", index.vectors, ", expected f32 [rows, dimensions] as embed writes");
  const fs::path file = origin_file(vectors);
  if (!fs::exists(file))
    fail(Exit::data, file.string(), ": no such file; embed writes it beside the vectors, to say how they were made");
  const nlohmann::json how = read_json(file);
  try {
    VectorOrigin& origin = index.origin;
    origin.prompt = how.at("prompt"), origin.device = how.value("device", "cpu");
    origin.model_sha256 = how.at("model_sha256");
    origin.model.image_positions = "1d";  // for files older than this option
    origin.model.fields([&](const char* name, auto& value, const char*) {
      value = how.value(name, value);  // newer options keep their defaults
    });
    origin.model.model_name = read_place(how, "model_name", vectors);
    if (!origin.model.adapter.empty()) origin.model.adapter = read_place(how, "adapter", vectors);
    if (how.contains("input")) {
      origin.input = read_place(how, "input", vectors);
      origin.image_dir = read_place(how, "image_dir", vectors);
      origin.input_sha256 = how.at("input_sha256");
    }
    if (how.contains("skipped_rows"))
      for (const int64_t row : how["skipped_rows"].get<std::vector<int64_t>>()) origin.skipped_rows.push_back(row - 1);
    if (how.at("rows") != index.vectors.rows() || how.at("dimensions") != index.vectors.columns())
      fail(Exit::data, file.string(), ": says ", how["rows"], " rows of ", how["dimensions"], " dimensions, but ",
           vectors.string(), " holds ", index.vectors, "; embed again");
    if (!std::ranges::is_sorted(origin.skipped_rows) || (!origin.skipped_rows.empty() && origin.skipped_rows[0] < 0))
      fail(Exit::data, file.string(), ": skipped_rows is not a rising list of rows from 1; embed again");
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, file.string(), ": is not what embed writes beside its vectors; embed again");
  }
  return index;
}

void require_same_model(const VectorIndex& index, const VectorIndex& queries) {
  const auto differ = [&](const std::string& what) {
    fail(Exit::data, queries.file.string(), ": was made with another ", what, " than ", index.file.string(),
         "; their scores cannot be compared");
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
    fail(Exit::data, file.string(), ": the file with the rows of ", index.file.string(), " is gone; embed again");
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
