// The files in which transformers keeps how pictures are prepared: preprocessor_config.json, and since version 5 the
// image_processor of processor_config.json.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "vlm/json_field.h"
#include "vlm/processor.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFlat = "preprocessor_config.json";
constexpr const char* kNested = "processor_config.json";
constexpr const char* kImages = "image_processor";
constexpr const char* kVideo = "video_processor";

// A whole number from 1, also written as 3136.0.
int64_t whole(const json& file, const char* name, int64_t otherwise, int64_t most = int64_t(1) << 50) {
  if (!file.contains(name)) return otherwise;
  const double value = file[name].is_number() ? file[name].get<double>() : 0;
  if (!(value >= 1 && value <= double(most) && value == std::floor(value)))
    fail(Exit::data, name, " is ", file[name], ", expected a whole number from 1 to ", most);
  return int64_t(value);
}

// A bound by its own name, else by that of `size`, whose "edges" are areas. A size in other words is refused:
// transformers 4.45 to 4.48 ignored it, later ones refuse it.
int64_t bound(const json& file, const char* name, const char* edge, int64_t otherwise) {
  if (file.contains(name)) return whole(file, name, otherwise);
  const json size = json_field(file, "size", json::object());
  if (!size.empty() && !size.contains(edge))
    fail(Exit::data, "size is ", size, " without ", edge, ", and there is no ", name,
         " beside it; transformers reads size only with shortest_edge and longest_edge, which are areas in pixels");
  return whole(size, edge, otherwise);
}

std::array<double, 3> three(const json& file, const char* name, const std::array<double, 3>& otherwise) {
  const auto is_number = [](const json& value) { return value.is_number(); };
  if (file.contains(name) &&
      !(file[name].is_array() && file[name].size() == 3 && std::ranges::all_of(file[name], is_number)))
    fail(Exit::data, name, " is ", file[name], ", expected three numbers");
  return file.value(name, otherwise);
}

ProcessorConfig parse_processor(const json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  if (const std::string type = json_field(file, "image_processor_type", std::string("Qwen2VLImageProcessor"));
      type != "Qwen2VLImageProcessor" && type != "Qwen2VLImageProcessorFast" && type != "Qwen2VLImageProcessorPil")
    fail(Exit::data, "image_processor_type is ", type, ", expected Qwen2VLImageProcessor");
  for (const char* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"})
    if (!json_field(file, step, true))
      fail(Exit::data, step, " is false; pictures can only be processed with all steps");
  if (json_field(file, "do_center_crop", false)) fail(Exit::data, "do_center_crop is true; pictures are never cropped");
  constexpr int bicubic = 3;  // Pillow's number
  if (json_field(file, "resample", bicubic) != bicubic)
    fail(Exit::data, "resample is ", file["resample"], ", expected 3 (bicubic)");
  if (json_field(file, "rescale_factor", 1 / 255.0) != 1 / 255.0)
    fail(Exit::data, "rescale_factor is ", file["rescale_factor"], ", expected 1/255");

  ProcessorConfig config;
  constexpr int64_t most_size = 1 << 20;
  config.patch_size = int(whole(file, "patch_size", config.patch_size, most_size));
  config.temporal_patch_size = int(whole(file, "temporal_patch_size", config.temporal_patch_size, most_size));
  config.merge_size = int(whole(file, "merge_size", config.merge_size, most_size));
  config.min_pixels = bound(file, "min_pixels", "shortest_edge", config.min_pixels);
  config.max_pixels = bound(file, "max_pixels", "longest_edge", config.max_pixels);
  config.mean = three(file, "image_mean", config.mean);
  config.std = three(file, "image_std", config.std);
  config.image_positions = json_field(file, "image_positions", std::string());
  if (const std::string& word = config.image_positions; !word.empty() && word != "1d" && word != "3d")
    fail(Exit::data, "image_positions is ", json(word), ", expected 1d or 3d");
  for (const double std : config.std)
    if (!(std > 0)) fail(Exit::data, "image_std is ", json(config.std), ", expected three positive numbers");
  if (config.max_pixels < config.min_pixels)
    fail(Exit::data, "min_pixels ", config.min_pixels, " to max_pixels ", config.max_pixels, " is not a range");
  return config;
}

template <class Json>
bool has_images(const Json& file) {
  return file.is_object() && file.contains(kImages) && file.at(kImages).is_object();
}

// How pictures are prepared, wherever the file keeps it.
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

ProcessorConfig ProcessorConfig::read(const fs::path& file) {
  const json config = image_part(read_settings(file));
  try {
    return parse_processor(config);
  } catch (const json::exception& error) {
    fail(Exit::data, file.string(), ": ", reason_of(error));
  } catch (const Error& error) {
    fail(error.code, file.string(), ": ", error.what());
  }
}

ProcessorConfig ProcessorConfig::load(const fs::path& folder) {
  const fs::path file = processor_file(folder);
  return read(file.empty() ? folder / kFlat : file);
}

void ProcessorConfig::save(const fs::path& folder) const {
  write_text(folder / kFlat, text_of({{"image_processor_type", "Qwen2VLImageProcessor"},
                                      {"processor_class", "Qwen2VLProcessor"},
                                      {"patch_size", patch_size},
                                      {"temporal_patch_size", temporal_patch_size},
                                      {"merge_size", merge_size},
                                      {"min_pixels", min_pixels},
                                      {"max_pixels", max_pixels},
                                      {"size", {{"shortest_edge", min_pixels}, {"longest_edge", max_pixels}}},
                                      {"image_mean", mean},
                                      {"image_std", std}}));
}

std::string ProcessorConfig::unlike(const ProcessorConfig& other) const {
  std::string text;
  const auto add = [&](const auto&... words) { text += (text.empty() ? "" : ", ") + sentence(words...); };
  if (min_pixels != other.min_pixels || max_pixels != other.max_pixels) add(min_pixels, " to ", max_pixels, " pixels");
  if (mean != other.mean) add("image_mean ", json(mean));
  if (std != other.std) add("image_std ", json(std));
  if (patch_size != other.patch_size) add("patch_size ", patch_size);
  if (temporal_patch_size != other.temporal_patch_size) add("temporal_patch_size ", temporal_patch_size);
  if (merge_size != other.merge_size) add("merge_size ", merge_size);
  if (image_positions != other.image_positions)
    add(image_positions.empty() ? "no image_positions" : "image_positions " + image_positions);
  return text;
}

TextFiles portable_processor_files(const TextFiles& known, const std::string& used, const ProcessorConfig& config,
                                   bool moved) {
  TextFiles files = known;
  const ordered_json content = ordered_json::parse(known.at(used));
  ordered_json image = image_part(content);
  const bool edges = !image.contains("size") || image["size"].is_null() || image["size"].contains("shortest_edge");
  if (moved || !edges || used != kFlat) {
    image["min_pixels"] = config.min_pixels, image["max_pixels"] = config.max_pixels;
    image["size"] = {{"shortest_edge", config.min_pixels}, {"longest_edge", config.max_pixels}};
    image["processor_class"] = content.contains("processor_class") ? content["processor_class"] : "Qwen2VLProcessor";
    files[kFlat] = text_of(image);
  }
  if (image.value("image_positions", "") != config.image_positions) {
    image["image_positions"] = config.image_positions;
    files[kFlat] = text_of(image);
  }
  if (!known.contains(kNested)) return files;
  ordered_json rest = ordered_json::parse(known.at(kNested));
  if (!rest.contains(kImages) && !rest.contains(kVideo)) return files;
  if (rest.contains(kVideo)) files["video_preprocessor_config.json"] = text_of(rest[kVideo]);
  rest.erase(kImages), rest.erase(kVideo);
  files[kNested] = text_of(rest);
  return files;
}

}  // namespace vlm2vec
