// Files of one JSON object per line, as commands take them.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>

namespace vlm2vec {

// Calls row(object) for each line; blank lines are skipped. Errors (Exit::data), also those of JSON that row() throws,
// name file and line; a file without rows is one.
void read_json_lines(const std::filesystem::path& file,
                     const std::function<void(const nlohmann::ordered_json& row)>& row);

}  // namespace vlm2vec
