// Fields of a config.json and other settings, checked. Errors (Exit::data) name the field, not the file.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace vlm2vec {

constexpr int64_t kMostLayers = 1000, kMostHeads = 1 << 12, kMostWidth = 1 << 20, kMostTokens = 1 << 24;

// T is bool, int, double, std::string or json.
template <class T>
T json_field(const nlohmann::json& object, const char* name, const T& otherwise);
// Returns a whole number from 1 to `most`, safe to allocate. Without `otherwise` the field must be present.
int64_t size_field(const nlohmann::json& object, const char* key, int64_t most, int64_t otherwise = 0);
double positive_field(const nlohmann::json& object, const char* key);
// Returns the fields of `object` over those of `defaults`, an object as text.
nlohmann::json over_defaults(const nlohmann::json& object, const char* defaults);
// Throws Exit::data with the sentence `what` unless the condition holds.
void expect_config(bool condition, const char* what);

}  // namespace vlm2vec
