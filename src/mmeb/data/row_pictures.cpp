#include "mmeb/data/row_pictures.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/json_lines.h"
#include "io/parquet/parquet.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

using Row = nlohmann::ordered_json;

std::string checked_path(const std::string& path, const std::string& field) {
  if (path.find('\0') != path.npos)
    fail(Exit::data, field, ": \"", one_line(path, 100), "\" has a NUL character, expected a path");
  return path;
}

bool is_none(const Row& value) { return value.is_null() || value == ""; }

std::vector<std::string> pictures_of(const Row& value, const std::string& field, const Pictures& pictures) {
  std::vector<std::string> names;
  const auto add = [&](const Row& one, const std::string& place) {
    if (std::string name = picture_name(one, place, pictures); !name.empty()) names.push_back(std::move(name));
  };
  if (!value.is_array()) add(value, field);
  else
    for (size_t i = 0; i < value.size(); ++i) add(value[i], sentence(field, "[", i, "]"));
  return names;
}

}  // namespace

std::string picture_name(const Row& value, const std::string& field, const Pictures& pictures) {
  if (is_none(value)) return "";
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    return PictureSource::is_data_uri(text) ? pictures.keep(PictureSource::of_data_uri(text))
                                            : checked_path(text, field);
  }
  if (value.is_binary()) return pictures.keep(binary_name(value));
  if (!value.is_object()) wrong_type(field, value, "a path, a data URI, {\"bytes\", \"path\"} or a list of these");
  for (const auto& [key, part] : value.items())
    if ((key != "bytes" && key != "path") || !(part.is_null() || part.is_string() || part.is_binary()))
      fail(Exit::data, field, ": ", key, " is of type ", part.type_name(),
           ", expected {\"bytes\": base64 or null, \"path\": text or null}");
  if (const auto bytes = value.find("bytes"); bytes != value.end() && !is_none(*bytes))
    return bytes->is_binary() ? pictures.keep(binary_name(*bytes))
                              : pictures.keep(PictureSource::of_base64(bytes->get<std::string>()));
  const auto path = value.find("path");
  return path == value.end() || path->is_null() ? "" : checked_path(path->get<std::string>(), field);
}

std::vector<std::string> pictures_field(const Row& row, const std::string& name, const Pictures& pictures) {
  return pictures_of(field(row, name), name, pictures);
}

std::vector<std::vector<std::string>> picture_sides_field(const Row& row, const std::string& name,
                                                          const Pictures& pictures) {
  const Row& value = field(row, name);
  if (!value.is_array()) return {pictures_of(value, name, pictures)};
  std::vector<std::vector<std::string>> sides;
  for (const Row& item : value) sides.push_back(pictures_of(item, sentence(name, "[", sides.size(), "]"), pictures));
  return sides;
}

std::vector<Side> sides_field(const Row& row, const std::string& text, const std::string& image,
                              const Pictures& pictures) {
  if (!field(row, text).is_array()) return {{text_field(row, text), pictures_field(row, image, pictures)}};
  const std::vector<std::string> texts = text_list_field(row, text);
  const Row& value = field(row, image);
  if (!value.is_array() && !is_none(value))
    fail(Exit::data, text, " is a list and ", image, " is not; expected a list with the pictures of each, or null");
  std::vector<std::vector<std::string>> images(texts.size());
  if (value.is_array()) images = picture_sides_field(row, image, pictures);
  if (texts.size() != images.size())
    fail(Exit::data, text, " has ", counted(texts.size(), "item"), " and ", image, " ", images.size(),
         "; expected lists of equal length (several pictures of one side: a list in the list)");
  std::vector<Side> sides;
  for (size_t i = 0; i < texts.size(); ++i) sides.emplace_back(texts[i], std::move(images[i]));
  return sides;
}

}  // namespace vlm2vec
