#include "vlm/tokenizer/refusal.h"

#include <nlohmann/json.hpp>

namespace vlm2vec {

using nlohmann::json;

std::string shown(std::string_view token) { return json(token).dump(-1, ' ', false, json::error_handler_t::replace); }

std::string type_of(const json& part) { return part.is_null() ? "null" : part.at("type").get<std::string>(); }

}  // namespace vlm2vec
