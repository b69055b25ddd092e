#include "vlm/config_fields.h"

#include <nlohmann/json.hpp>

#include "io/error.h"

namespace vlm2vec {

using nlohmann::json;

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

void expect_config(bool condition, const char* what) {
  if (!condition) fail(Exit::data, what);
}

}  // namespace vlm2vec
