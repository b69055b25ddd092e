#include "vlm/model.h"

#include <cstdio>

#include "vlm/model_hash.h"

namespace vlm2vec {

AdapterOptions adapter_options(const AdapterArguments& a) {
  return {a.use_dora, a.allow_partial_adapter, a.adapter_norms};
}

EncoderOptions encoder_options(const ModelOptions& o, Device device) {
  if (o.precision != "f32" && o.precision != "bf16")
    fail(Exit::usage, "--precision: got \"", o.precision, "\", expected f32 or bf16");
  if (!o.fusion.empty() && o.fusion != "official")
    fail(Exit::usage, "--fusion: got \"", o.fusion, "\", expected official");
  if (!o.image_positions.empty()) parse_image_positions(o.image_positions);
  constexpr int64_t most_crops = 1024;
  if (o.num_crops < 0 || o.num_crops > most_crops)
    fail(Exit::usage, "--num_crops ", o.num_crops, ", expected 1 to ", most_crops, "; 0: as the model's folder says");
  if (o.max_len < 0 || o.resize_min_pixels < 0 || o.resize_max_pixels < 0)
    fail(Exit::usage, "--max_len, --resize_min_pixels and --resize_max_pixels cannot be negative");
  if (o.dim < 0) fail(Exit::usage, "--dim: got ", o.dim, ", expected 1 or more, or 0 for all numbers");
  return {.device = device,
          .bf16 = o.precision == "bf16",
          .min_pixels = o.resize_min_pixels,
          .max_pixels = o.resize_max_pixels,
          .dim = o.dim,
          .max_len = o.max_len,
          .num_crops = o.num_crops,
          .image_positions = o.image_positions,
          .image_resolution = o.image_resolution,
          .exif = o.exif,
          .official_mask = o.official_mask.official,
          .official_features = o.fusion == "official"};
}

std::unique_ptr<Encoder> load_model(const ModelOptions& o, Device device, bool quiet) {
  const ModelFolder folder = look_at_model_folder(o.model_name, o.adapter);
  if (folder.adapter.empty() && (!o.use_dora || o.allow_partial_adapter || o.adapter_norms))
    fail(Exit::usage, "--use_dora, --allow_partial_adapter and --adapter_norms mean nothing without --adapter");
  folder.require_one_adapter();
  auto encoder = std::make_unique<Encoder>(folder, encoder_options(o, device));
  if (o.adapter.empty() && !folder.adapter.empty())
    encoder->notes.push_back(o.model_name + ": the adapter beside the weights is applied");
  if (!folder.adapter.empty()) {
    print_warning(load_adapter(*encoder->backbone, folder.adapter, adapter_options(o), nullptr, encoder->notes));
    // Printed even with --quiet: the results may be wrong.
    if (const std::string note = other_base_note(o.model_name, folder.adapter); !note.empty())
      std::fprintf(stderr, "%s\n", note.c_str());
  }
  if (const std::string note = device_note(device); !note.empty()) encoder->notes.push_back(note);
  if (!quiet)
    for (const std::string& note : encoder->notes) std::fprintf(stderr, "%s\n", note.c_str());
  return encoder;
}

void print_warning(const AttachedLora& lora) {
  if (!lora.warning.empty()) std::fprintf(stderr, "%s\n", lora.warning.c_str());
}

}  // namespace vlm2vec
