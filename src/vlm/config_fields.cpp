#include "vlm/config_fields.h"

#include <nlohmann/json.hpp>
#include <string>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {

using nlohmann::json;

template <class T>
T json_field(const json& object, const char* name, const T& otherwise) {
  if (!object.contains(name)) return otherwise;
  try {
    return object[name].get<T>();
  } catch (const json::exception& error) {
    fail(Exit::data, name, " is ", object[name], ": ", reason_of(error));
  }
}

template bool json_field(const json&, const char*, const bool&);
template int json_field(const json&, const char*, const int&);
template double json_field(const json&, const char*, const double&);
template std::string json_field(const json&, const char*, const std::string&);
template json json_field(const json&, const char*, const json&);

int64_t size_field(const json& object, const char* key, int64_t most, int64_t otherwise) {
  if (otherwise > 0 && !object.contains(key)) return otherwise;
  const json& value = object.at(key);
  if (!value.is_number_unsigned() || value < 1 || value > most)
    fail(Exit::data, key, " is ", value, ", expected a whole number from 1 to ", most);
  return value;
}

double positive_field(const json& object, const char* key) {
  const json& value = object.at(key);
  if (!value.is_number() || !(value > 0)) fail(Exit::data, key, " is ", value, ", expected a positive number");
  return value;
}

json over_defaults(const json& object, const char* defaults) {
  json fields = json::parse(defaults);
  fields.update(object);
  return fields;
}

void expect_config(bool condition, const char* what) {
  if (!condition) fail(Exit::data, what);
}

}  // namespace vlm2vec
