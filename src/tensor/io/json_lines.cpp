#include "tensor/io/json_lines.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

using Json = nlohmann::ordered_json;

bool is_utf8(std::string_view text) {
  try {
    return !Json(text).dump().empty();
  } catch (const Json::type_error&) {  // nlohmann writes UTF-8 only
    return false;
  }
}

Json parse_object(std::string_view line) {
  check_nesting(line, "the row");
  try {
    Json row = Json::parse(line);
    if (!row.is_object()) fail(Exit::data, "expected an object {...}, got ", row.type_name());
    return row;
  } catch (const Json::parse_error& e) {
    if (!is_utf8(line)) fail(Exit::data, "is not UTF-8 near byte ", e.byte, " of the line; convert the file");
    fail(Exit::data, "is not valid JSON near byte ", e.byte, " of the line");
  } catch (const Json::exception& e) {  // a number that no type can hold
    fail(Exit::data, "is not valid JSON: ", e.what());
  }
}

const Json& field(const Json& row, const std::string& name) {
  const auto found = row.find(name);
  if (found == row.end()) {
    std::string names;
    for (const auto& [other, value] : row.items()) names += (names.empty() ? "" : ", ") + other;
    fail(Exit::data, name, " is missing; there are ", names.size() > 200 ? names.substr(0, 200) + "…" : names);
  }
  return *found;
}

[[noreturn]] void wrong_type(const std::string& name, const Json& value, const char* expected) {
  const bool is_short = value.is_null() || value.is_boolean() || value.is_number();
  fail(Exit::data, name, " is ", is_short ? value.dump() : sentence("of type ", value.type_name()), ", expected ",
       expected);
}

}  // namespace

void read_json_lines(const std::filesystem::path& file, const std::function<void(const Json&)>& row, int64_t limit,
                     std::string (*shorten)(std::string_view line)) {
  const bool pipe = std::filesystem::is_fifo(file);
  const std::string piped = pipe ? read_text(file) : "";
  const auto mapped = pipe ? nullptr : MappedFile::open(file);
  const std::string_view text =
      pipe ? piped : std::string_view(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size());
  int64_t number = 0, rows = 0;
  for (size_t begin = 0, end; begin < text.size() && (limit <= 0 || rows < limit); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      row(parse_object(shorten ? shorten(line) : line));
    } catch (const Error& e) {
      fail(e.code, file.string(), ":", number, ": ", e.what());
    }
    ++rows;
  }
  if (rows == 0) fail(Exit::data, file.string(), ": has no rows");
}

std::string text_field(const Json& row, const std::string& name) {
  const Json& value = field(row, name);
  if (!value.is_string()) wrong_type(name, value, "a string");
  return value.get<std::string>();
}

std::vector<std::string> text_list_field(const Json& row, const std::string& name) {
  const Json& list = field(row, name);
  if (!list.is_array()) wrong_type(name, list, "a list of strings");
  std::vector<std::string> texts;
  for (const Json& value : list) {
    if (!value.is_string()) wrong_type(sentence(name, "[", texts.size(), "]"), value, "a string");
    texts.push_back(value.get<std::string>());
  }
  return texts;
}

}  // namespace vlm2vec
