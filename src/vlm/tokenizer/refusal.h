// Refuses parts of tokenizer.json that this program does not know.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "io/error.h"

namespace vlm2vec {

template <class... Text>
[[noreturn]] void refuse(const Text&... text) {
  fail(Exit::data, text..., "; this program reads byte-level BPE as in Qwen2 and CLIP");
}

// A token as an error shows it: quoted, and on one line whatever bytes it has.
inline std::string shown(std::string_view token) {
  return nlohmann::json(token).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

inline std::string type_of(const nlohmann::json& part) {
  return part.is_null() ? "null" : part.at("type").get<std::string>();
}

// True if the field is present and not null.
inline bool is_set(const nlohmann::json& object, const char* field) {
  return object.contains(field) && !object[field].is_null();
}

[[noreturn]] inline void not_utf8(size_t at) { fail(Exit::data, "text is not UTF-8 at byte ", at, "; re-encode it"); }

}  // namespace vlm2vec
