// Reads the pictures of a row in all forms: a path, a data URI, {"bytes": base64, "path": …} (an image of the
// `datasets` library), or a list of these.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mmeb/data/packed_rows.h"
#include "mmeb/data/pictures.h"

namespace vlm2vec {

// Returns the pictures of one side in the field `name` of `row` as names for Pictures::find: one, a list, or none
// (null, "", an empty list, null items). Pictures embedded in the row go to `pictures`. Throws Exit::data with the
// wrong value.
std::vector<std::string> pictures_field(const nlohmann::ordered_json& row, const std::string& name,
                                        const Pictures& pictures);

// Returns the name of one picture in one of these forms; "" if there is none.
std::string picture_name(const nlohmann::ordered_json& value, const std::string& field, const Pictures& pictures);

// Returns the sides in a column of texts and a column of pictures. A single text is one side, perhaps with a list of
// pictures. A list of texts gives a side per text; their pictures must be a list of the same length, or null for none.
std::vector<Side> sides_field(const nlohmann::ordered_json& row, const std::string& text, const std::string& image,
                              const Pictures& pictures);
// Returns the pictures of sides without texts: one side for each item of a list, otherwise one side.
std::vector<std::vector<std::string>> picture_sides_field(const nlohmann::ordered_json& row, const std::string& name,
                                                          const Pictures& pictures);

}  // namespace vlm2vec
