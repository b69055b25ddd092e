// Reads a field of a settings file; errors name it.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace vlm2vec {

// T is bool, int, double, std::string or json. Throws Exit::data for a field of another type.
template <class T>
T json_field(const nlohmann::json& object, const char* name, const T& otherwise);

}  // namespace vlm2vec
