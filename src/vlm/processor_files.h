// The files in which transformers keeps how pictures are prepared: preprocessor_config.json, and since version 5 the
// image_processor of processor_config.json.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "vlm/backbone.h"
#include "vlm/families/family.h"
#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// The folder's picture processor: processor_config.json if it has an image_processor (transformers 5 writes no other
// file), or preprocessor_config.json; empty if there is neither.
std::filesystem::path processor_file(const std::filesystem::path& folder);
// Reads either file. Throws Exit::data, beginning with the file, if it is not of the family.
std::unique_ptr<PictureRule> read_picture_rule(const std::filesystem::path& file, const Family& family);
// The rule of a new model; bounds of a picture's area as take_bounds() has them.
std::unique_ptr<PictureRule> new_picture_rule(const Family& family, const InputShape& input, int64_t min_pixels,
                                              int64_t max_pixels);
// Writes preprocessor_config.json, which all versions read.
void write_picture_rule(const PictureRule& rule, const std::filesystem::path& folder);

// Returns a folder's processor files, by name and content, as transformers 4 and 5 read them alike: all settings in
// preprocessor_config.json, and nothing nested in processor_config.json, from which 4.52 cannot make a processor.
// `known` are the files that are there, `used` names the one that counts; moved: the rule has other bounds than that
// file. Files that already have this form are not changed.
using TextFiles = std::map<std::string, std::string>;
TextFiles portable_processor_files(const TextFiles& known, const std::string& used, const PictureRule& rule,
                                   bool moved);

}  // namespace vlm2vec
