#include "io/json_lines.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "io/archive.h"
#include "io/error.h"
#include "io/files.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Names a file that does not hold JSON lines, by its first bytes, and the cure; empty: unknown.
std::string other_format(std::string_view text) {
  if (const Packing* packing = packing_of(text))
    return packing->tool ? sentence("is compressed by ", packing->name, "; unpack it with ", packing->tool)
                         : sentence("is a ", packing->name, " archive; unpack it");
  const std::pair<std::string_view, const char*> formats[] = {
      {"PK\x03\x04", "is a zip file; unpack it"},
      {"PAR1", "is a Parquet file; let its name end in .parquet"},
      {"\xFF\xFE", "is UTF-16; write it as UTF-8"},
      {"\xFE\xFF", "is UTF-16; write it as UTF-8"},
      {{"{\0", 2}, "is UTF-16; write it as UTF-8"},
      {{"\0{", 2}, "is UTF-16; write it as UTF-8"}};
  for (const auto& [magic, what] : formats)
    if (text.starts_with(magic)) return what;
  return "";
}

// Returns the likely fault of a line that is not JSON, with the cure; `at`: where the parser stopped; empty: unknown.
std::string likely_fault(std::string_view line, size_t at, bool last) {
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '-'; };
  const size_t begin_of_text = line.find_first_not_of(" \t\xEF\xBB\xBF");
  if (begin_of_text == line.npos) return "; it holds nothing but a byte order mark: remove the line";
  const char first = line[begin_of_text];
  if (first == '[' || first == ']') return "; write one object a line, without a list around them";
  if (first != '{')
    return sentence("; it begins with \"", one_line(line.substr(begin_of_text), 30),
                    "\", expected an object {...}", line.find(',') == line.npos ? "" : " (CSV is not read)");
  size_t begin = std::min(at, line.size()), end = begin;
  while (begin > 0 && is_letter(line[begin - 1])) --begin;
  while (end < line.size() && is_letter(line[end])) ++end;
  const std::string_view word = line.substr(begin, end - begin);
  for (const char* number : {"NaN", "nan", "Infinity", "-Infinity", "inf"})
    if (word == number) return sentence("; ", word, " is not JSON, write null or \"\"");
  for (const char* python : {"None", "True", "False"})
    if (word == python) return sentence("; ", word, " is Python's, write null, true or false (json.dumps does)");
  if (at < line.size() && line[at] == '\'') return "; texts stand in double quotes (json.dumps writes them)";
  if (at < line.size() && (line[at] == '}' || line[at] == ']') && at > 0)
    if (const size_t comma = line.find_last_not_of(" \t", at - 1); comma != line.npos && line[comma] == ',')
      return sentence("; remove the comma before ", line[at]);
  if (at + 1 < line.size()) return "";
  return last ? "; the line ends too early: is the file complete?"
              : "; the object does not end where its line ends: write one object a line";
}

// Throws, naming the field that an object has twice; the parser would keep the last one.
void refuse_twice(std::string_view line) {
  std::set<std::string> fields;
  const auto parsed = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth == 1 && event == Json::parse_event_t::key && !fields.insert(value.get<std::string>()).second)
      fail(Exit::data, "has the field ", one_line(value.get<std::string>()), " twice");
    return true;
  };
  [[maybe_unused]] const Json row = Json::parse(line, parsed);
}

Json parse_object(std::string_view line, bool last) {
  const size_t fields = check_nesting(line, "the row");
  try {
    Json row = Json::parse(line);
    if (row.is_object() && row.size() != fields) refuse_twice(line);
    if (!row.is_object())
      fail(Exit::data, "expected an object {...}, got ", row.type_name(),
           row.is_array() ? likely_fault(line, 0, last) : "");
    return row;
  } catch (const Json::parse_error& e) {
    if (!is_utf8(line)) fail(Exit::data, "is not UTF-8 near byte ", e.byte, " of the line; convert the file");
    fail(Exit::data, "is not valid JSON near byte ", e.byte, " of the line", likely_fault(line, e.byte - 1, last));
  } catch (const Json::exception& e) {  // a number that no type can hold
    fail(Exit::data, "is not valid JSON: ", e.what());
  }
}

}  // namespace

void read_json_lines(const std::filesystem::path& file, const std::function<void(const Json&)>& row, int64_t limit,
                     std::string (*shorten)(std::string_view line), const RowFault& fault) {
  const bool pipe = std::filesystem::is_fifo(file);
  const std::string piped = pipe ? read_text(file) : "";
  const auto mapped = pipe ? nullptr : MappedFile::open(file);
  std::string_view text = pipe ? piped : as_text(mapped->bytes());
  if (const std::string other = other_format(text); !other.empty())
    fail(Exit::data, file.string(), ": ", other, "; rows are JSON lines, one object {...} a line");
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  int64_t number = 0, rows = 0;
  for (size_t begin = 0, end; begin < text.size() && (limit <= 0 || rows < limit); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      row(parse_object(shorten ? shorten(line) : line, text.find_first_not_of(" \t\r\n", end) == text.npos));
    } catch (const Error& e) {
      const Error error(e.code, sentence(file.string(), ":", number, ": ", e.what()));
      if (!fault || e.code != Exit::data) throw error;
      fault(error);
    }
    ++rows;
  }
  if (rows == 0) fail(Exit::data, file.string(), ": has no rows");
}

const Json& field(const Json& row, const std::string& name) {
  const auto found = row.find(name);
  if (found == row.end()) {
    std::string names;
    for (const auto& [other, value] : row.items()) names += (names.empty() ? "" : ", ") + other;
    fail(Exit::data, name, " is missing; the row has: ", names.empty() ? "no field" : one_line(names, 200));
  }
  return *found;
}

void wrong_type(const std::string& name, const Json& value, const std::string& expected) {
  const bool is_short = value.is_null() || value.is_boolean() || value.is_number();
  fail(Exit::data, name, " is ", is_short ? value.dump() : sentence("of type ", value.type_name()), ", expected ",
       expected);
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
