#include "vlm/processor_files.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/text.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFlat = "preprocessor_config.json";
constexpr const char* kNested = "processor_config.json";
constexpr const char* kImages = "image_processor";
constexpr const char* kVideo = "video_processor";

template <class Json>
bool has_images(const Json& file) {
  return file.is_object() && file.contains(kImages) && file.at(kImages).is_object();
}

// Returns the settings of pictures, nested or not.
template <class Json>
Json image_part(const Json& file) {
  return has_images(file) ? file.at(kImages) : file;
}

std::string text_of(const ordered_json& file) { return file.dump(2) + "\n"; }

}  // namespace

fs::path processor_file(const fs::path& folder) {
  const fs::path nested = folder / kNested, flat = folder / kFlat;
  if (fs::exists(nested) && has_images(read_json(nested))) return nested;
  return fs::exists(flat) ? flat : fs::path();
}

std::string ProcessorSettings::unlike(const ProcessorSettings& other) const {
  const auto fields = [](const ProcessorSettings& settings) {
    ordered_json all = settings.rule->settings();
    all["image_positions"] = settings.image_positions, all["official_mask"] = settings.official_mask;
    return all;
  };
  const ordered_json own = fields(*this), theirs = fields(other);
  std::vector<std::string> differences;
  for (const auto& [name, value] : own.items())
    if (theirs.at(name) != value) differences.push_back(value == "" ? "no " + name : name + " " + value.dump());
  return joined(differences);
}

ProcessorSettings read_processor_settings(const fs::path& file, const Family& family) {
  const json settings = image_part(read_settings(file));
  try {
    const std::string positions = json_field(settings, "image_positions", std::string());
    if (!positions.empty() && positions != "1d" && positions != "3d")
      fail(Exit::data, "image_positions is ", json(positions), ", expected 1d or 3d");
    return {family.picture_rule(settings), positions, json_field(settings, "official_mask", false)};
  } catch (const json::exception& error) {
    fail(Exit::data, file.string(), ": ", reason_of(error));
  } catch (const Error& error) {
    fail(error.code, file.string(), ": ", error.what());
  }
}

std::unique_ptr<PictureRule> new_picture_rule(const Family& family, const InputShape& input, int64_t min_pixels,
                                              int64_t max_pixels) {
  json settings = over_defaults({{"patch_size", input.patch_size},
                                 {"merge_size", input.merge_size},
                                 {"temporal_patch_size", input.temporal_patch_size}},
                                family.new_pictures);
  if (input.image_size > 0) settings["size"] = settings["crop_size"] = input.image_size;
  for (const Size& size : input.canvases) settings["image_grid_pinpoints"].push_back({size.height, size.width});
  auto rule = family.picture_rule(settings);
  if (rule->patch_size == 0) rule->patch_size = input.patch_size;
  rule->take_bounds(min_pixels, max_pixels, "the " + family.title + " family", "--");
  return rule;
}

void write_picture_rule(const PictureRule& rule, const fs::path& folder) {
  write_text(folder / kFlat, text_of(rule.settings()));
  if (const ordered_json rest = rule.processor_settings(); !rest.empty()) write_text(folder / kNested, text_of(rest));
}

TextFiles portable_processor_files(const TextFiles& known, const std::string& used, const ProcessorSettings& settings,
                                   bool moved) {
  TextFiles files = known;
  const ordered_json content = ordered_json::parse(known.at(used)), given = image_part(content);
  ordered_json image = given;
  settings.rule->update(image, moved || used != kFlat);
  if (content.contains("processor_class")) image["processor_class"] = content["processor_class"];
  if (const std::string& word = settings.image_positions; image.value("image_positions", "") != word)
    image["image_positions"] = word;
  if (const bool mask = settings.official_mask; image.value("official_mask", false) != mask)
    image["official_mask"] = mask;
  if (image != given) files[kFlat] = text_of(image);
  if (!known.contains(kNested)) return files;
  ordered_json rest = ordered_json::parse(known.at(kNested));
  if (!rest.contains(kImages) && !rest.contains(kVideo)) return files;
  if (rest.contains(kVideo)) files["video_preprocessor_config.json"] = text_of(rest[kVideo]);
  rest.erase(kImages), rest.erase(kVideo);
  files[kNested] = text_of(rest);
  return files;
}

}  // namespace vlm2vec
