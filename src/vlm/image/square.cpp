#include "vlm/image/square.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/text.h"
#include "vlm/config_fields.h"

namespace vlm2vec {

void Square::read(const nlohmann::json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  const std::string type = json_field(file, "image_processor_type", image_processor);
  if (type != image_processor && type != image_processor + "Fast" && type != image_processor + "Pil")
    fail(Exit::data, "image_processor_type is ", type, ", expected ", image_processor);
  if (json_field(file, "do_center_crop", false))
    fail(Exit::data, "do_center_crop is true; ", image_processor, " keeps the whole picture");
  read_common(file, &filter);
  picture_size = side_field(file, "size", {"height", "width"}, picture_size);
}

Image Square::apply(Picture picture) const {
  if (exif) picture = turned(std::move(picture), picture.orientation);
  return resize(to_rgb(std::move(picture)), {picture_size, picture_size}, filter);
}

std::string Square::key() const {
  return sentence("square ", picture_size, filter == Filter::bilinear ? " bilinear" : "", exif ? " exif" : "");
}

nlohmann::ordered_json Square::settings() const {
  return {{"image_processor_type", image_processor},
          {"processor_class", processor_class},
          {"size", {{"height", picture_size}, {"width", picture_size}}},
          {"do_resize", true},
          {"do_rescale", true},
          {"do_normalize", true},
          {"do_convert_rgb", true},
          {"resample", filter == Filter::bilinear ? 2 : 3},
          {"rescale_factor", 1 / 255.0},
          {"image_mean", mean},
          {"image_std", std}};
}

}  // namespace vlm2vec
