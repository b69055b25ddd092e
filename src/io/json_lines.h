// Files of one JSON object per line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace vlm2vec {

// Handles a row with a fault (Exit::data; the sentence begins with file and line): throws, or returns, and reading goes
// on with the next row. None: the error is thrown.
using RowFault = std::function<void(const Error& error)>;

// Calls row(object), keys in the line's order, for each line, or for the first `limit` rows if that is positive. Blank
// lines and a byte order mark are skipped; lines may end with CR LF. Throws Exit::data, also for a file without rows.
// Errors, also those of row(), begin with file and line. `shorten` may cut what row() does not need from a long line.
void read_json_lines(const std::filesystem::path& file,
                     const std::function<void(const nlohmann::ordered_json& row)>& row, int64_t limit = 0,
                     std::string (*shorten)(std::string_view line) = nullptr, const RowFault& fault = {});

// Returns a field of a row; the error says what came: "qry_image_path is null, expected a string".
const nlohmann::ordered_json& field(const nlohmann::ordered_json& row, const std::string& name);
[[noreturn]] void wrong_type(const std::string& name, const nlohmann::ordered_json& value, const std::string& expected);
std::string text_field(const nlohmann::ordered_json& row, const std::string& name);
std::vector<std::string> text_list_field(const nlohmann::ordered_json& row, const std::string& name);

}  // namespace vlm2vec
