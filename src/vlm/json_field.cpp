#include "vlm/json_field.h"

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

}  // namespace vlm2vec
