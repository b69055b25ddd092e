// A field of a settings file, of which an error says the name.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace vlm2vec {

// T is bool, int, double, std::string or json. Exit::data if the field is there and of another type.
template <class T>
T json_field(const nlohmann::json& object, const char* name, const T& otherwise);

}  // namespace vlm2vec
