// The files that tell transformers how to prepare pictures: preprocessor_config.json, and since version 5 the
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

// Returns processor_config.json if it has an image_processor (transformers 5 writes no other file), else
// preprocessor_config.json; empty if the folder has neither.
std::filesystem::path processor_file(const std::filesystem::path& folder);
struct ProcessorSettings {
  std::unique_ptr<PictureRule> rule;
  // How the model was trained to read rows. Only this program writes these, so that later commands read alike.
  std::string image_positions;  // 1d or 3d (positions.h); empty: unknown, or the family has no choice
  bool official_mask = false;   // of VLM2Vec's evaluation of CLIP
  // Returns the differences from other settings, for the user: "max_pixels 4096, image_mean [...]"; empty: none.
  std::string unlike(const ProcessorSettings& other) const;
};
// Reads either file. Throws Exit::data, beginning with the file, if it is not of the family.
ProcessorSettings read_processor_settings(const std::filesystem::path& file, const Family& family);
// Returns the rule of a new model; bounds as in take_bounds().
std::unique_ptr<PictureRule> new_picture_rule(const Family& family, const InputShape& input, int64_t min_pixels,
                                              int64_t max_pixels);
// Writes preprocessor_config.json, which all versions read, and processor_config.json where transformers needs it.
void write_picture_rule(const PictureRule& rule, const std::filesystem::path& folder);

// Returns a folder's processor files, by name and content, so that transformers 4 and 5 read them alike. All settings
// go to preprocessor_config.json, because 4.52 cannot read nested ones. `known`: the folder's files; `used`: the one
// that counts; moved: the rule has other bounds than that file. Files that already have this form are not changed.
using TextFiles = std::map<std::string, std::string>;
TextFiles portable_processor_files(const TextFiles& known, const std::string& used, const ProcessorSettings& settings,
                                   bool moved);

}  // namespace vlm2vec
