// The files in which transformers keeps how pictures are prepared: preprocessor_config.json, and since version 5 the
// image_processor of processor_config.json.
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/files.h"
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

// A bound by its own name, else by that of `size`, whose "edges" are areas. A size in other words is refused:
// transformers 4.45 to 4.48 ignored it, later ones refuse it.
int64_t bound(const json& file, const char* name, const char* edge, int64_t otherwise) {
  const json size = file.value("size", json::object());
  if (file.contains(name)) return file[name];
  if (!size.empty() && !size.contains(edge))
    fail(Exit::data, "size is ", size, " without ", edge, ", and there is no ", name,
         " beside it; transformers reads size only with shortest_edge and longest_edge, which are areas in pixels");
  return size.value(edge, otherwise);
}

ProcessorConfig parse_processor(const json& file) {
  if (const std::string type = file.value("image_processor_type", "Qwen2VLImageProcessor");
      type != "Qwen2VLImageProcessor" && type != "Qwen2VLImageProcessorFast" && type != "Qwen2VLImageProcessorPil")
    fail(Exit::data, "image_processor_type is ", type, ", expected Qwen2VLImageProcessor");
  for (const char* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"})
    if (!file.value(step, true)) fail(Exit::data, step, " is false; pictures can only be processed with all steps");
  if (file.value("do_center_crop", false)) fail(Exit::data, "do_center_crop is true; pictures are never cropped");
  constexpr int bicubic = 3;  // Pillow's number
  if (file.value("resample", bicubic) != bicubic)
    fail(Exit::data, "resample is ", file["resample"], ", expected 3 (bicubic)");
  if (file.value("rescale_factor", 1 / 255.0) != 1 / 255.0)
    fail(Exit::data, "rescale_factor is ", file["rescale_factor"], ", expected 1/255");

  ProcessorConfig config;
  config.patch_size = file.value("patch_size", config.patch_size);
  config.temporal_patch_size = file.value("temporal_patch_size", config.temporal_patch_size);
  config.merge_size = file.value("merge_size", config.merge_size);
  config.min_pixels = bound(file, "min_pixels", "shortest_edge", config.min_pixels);
  config.max_pixels = bound(file, "max_pixels", "longest_edge", config.max_pixels);
  config.mean = file.value("image_mean", config.mean);
  config.std = file.value("image_std", config.std);
  config.image_positions = file.value("image_positions", "");
  if (const std::string& word = config.image_positions; !word.empty() && word != "1d" && word != "3d")
    fail(Exit::data, "image_positions is ", json(word), ", expected 1d or 3d");
  if (config.patch_size < 1 || config.temporal_patch_size < 1 || config.merge_size < 1)
    fail(Exit::data, "patch_size, temporal_patch_size and merge_size must be positive");
  for (const double std : config.std)
    if (!(std > 0)) fail(Exit::data, "image_std is ", json(config.std), ", expected three positive numbers");
  if (config.min_pixels < 1 || config.max_pixels < config.min_pixels)
    fail(Exit::data, "min_pixels ", config.min_pixels, " to max_pixels ", config.max_pixels, " is not a range");
  return config;
}

// How pictures are prepared, wherever the file keeps it.
template <class Json>
Json image_part(const Json& file) {
  return file.is_object() && file.contains(kImages) ? file.at(kImages) : file;
}

std::string text_of(const ordered_json& file) { return file.dump(2) + "\n"; }

}  // namespace

fs::path processor_file(const fs::path& folder) {
  const fs::path nested = folder / kNested, flat = folder / kFlat;
  if (fs::exists(nested)) {
    const json content = read_json(nested);
    if (content.is_object() && content.contains(kImages)) return nested;
  }
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

std::string ProcessorConfig::bounds() const { return sentence(min_pixels, " to ", max_pixels, " pixels"); }

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
