// Turns a column's numbers and bytes into JSON: booleans and numbers as such, everything else as text.
//   date            "2024-02-29"
//   time            "12:34:56.789", with as many digits as its unit has (3, 6 or 9)
//   timestamp       "2024-02-29T12:34:56.789", with a Z at the end if it is UTC; INT96 with nanoseconds, without Z
//   decimal         "-123.45", exact, with as many digits after the point as its scale
//   uuid            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
//   interval        "P1M2DT3.004S": months, days, seconds (ISO 8601)
// https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "io/parquet/schema.h"

namespace vlm2vec::parquet {

bool has_bytes(Physical type);  // values are bytes, not numbers

// `bits`: as Values::number() returns them.
nlohmann::ordered_json number_value(const Leaf& leaf, uint64_t bits);
// For all kinds with bytes, except text and binary.
nlohmann::ordered_json bytes_value(const Leaf& leaf, std::string_view bytes);

}  // namespace vlm2vec::parquet
