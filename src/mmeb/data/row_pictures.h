// The pictures that a row names, in whatever form: a path, a data URI, {"bytes": base64, "path": …} (what the
// `datasets` library makes of an image), or a list of these.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mmeb/data/pictures.h"
#include "mmeb/data/train_rows.h"

namespace vlm2vec {

// The pictures of one side in the field `name` of `row`: one, several in a list, or none (null, "", an empty list,
// items that are null). Those that the row holds itself go to `pictures`. → names for Pictures::find. Errors
// (Exit::data) say what came.
std::vector<std::string> pictures_field(const nlohmann::ordered_json& row, const std::string& name,
                                        const Pictures& pictures);

// The name of one picture in one of these forms; "": none.
std::string picture_name(const nlohmann::ordered_json& value, const std::string& field, const Pictures& pictures);

// The sides in a column of texts and one of pictures. A text: one side, whose pictures may be a list. A list of texts:
// a side for each, and a list of as many items for their pictures, or null where there are none.
std::vector<Side> sides_field(const nlohmann::ordered_json& row, const std::string& text, const std::string& image,
                              const Pictures& pictures);
// The pictures of sides without texts: a list is one side for each item, anything else one side.
std::vector<std::vector<std::string>> picture_sides_field(const nlohmann::ordered_json& row, const std::string& name,
                                                          const Pictures& pictures);

}  // namespace vlm2vec
