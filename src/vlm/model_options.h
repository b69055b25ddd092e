// Options that name a model and say how it reads a row, for every command that loads one. An option list is written
// once: the command line, --help, the printout and the JSON of a run are made by visiting its fields.
#pragma once
#include <cstdint>
#include <string>

namespace vlm2vec {

// Begins a group of options in --help; a visitor that shows no groups need not know of them.
template <class Visit>
void section(Visit& visit, const char* title) {
  if constexpr (requires { visit.section(title); }) visit.section(title);
}

// An adapter, and how much of it is wanted.
struct AdapterArguments {
  std::string adapter;
  bool use_dora = true, allow_partial_adapter = false, adapter_norms = false;

  template <class Visit>
  void fields(Visit&& visit, const char* adapter_help = "PEFT folder to apply (LoRA or DoRA)") {
    visit("adapter", adapter, adapter_help);
    visit("use_dora", use_dora, "False: LoRA; of a DoRA adapter the magnitude vectors are left out");
    visit("allow_partial_adapter", allow_partial_adapter,
          "use the part of the adapter that matches layers of the model, and leave out the rest");
    visit("adapter_norms", adapter_norms, "print the norm of the adapter's change s*BA of each module");
  }
};

// Which model, and how it reads a row.
struct ModelOptions : AdapterArguments {
  std::string model_name, precision = "f32", image_resolution, image_positions;
  int64_t max_len = 0, resize_min_pixels = 0, resize_max_pixels = 0;
  bool exif = false, official_mask = false;

  template <class Visit>
  void fields(Visit&& visit, bool training = false) {
    section(visit, "Model");
    visit("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
    AdapterArguments::fields(
        visit, training
                   ? "PEFT folder (LoRA or DoRA) to continue training, with its own rank, alpha, dropout and layers"
                   : "PEFT folder to apply (LoRA or DoRA)");
    visit("precision", precision,
          training ? "f32, or bf16 matrix products with f32 accumulation (full training then stores bf16 weights and "
                     "f32 master copies)"
                   : "f32, or bf16 matrix products with f32 accumulation");
    visit("max_len", max_len,
          "most tokens of a row, pictures included; text beyond is cut off, pictures never (0: the model's limit, if "
          "it has one)");
    visit("official_mask", official_mask,
          "of CLIP: no token attends to <|endoftext|>, nor it to itself, as in VLM2Vec's evaluation of CLIP, where "
          "padding has the same id (default: as in CLIP's own code)");
    section(visit, "Pictures");
    visit("image_positions", image_positions,
          "positions of a picture that no <|vision_start|> opens, as in VLM2Vec's prompts: 1d, counted like text "
          "(VLM2Vec, transformers up to 5.2), or 3d, by row and column (transformers since 5.3); default: what the "
          "model was trained with, else 1d");
    visit("image_resolution", image_resolution,
          "VLM2Vec V1's route: first resize pictures in the file's own mode, to 1344x1344 (high), 672x672 (mid) or "
          "128x128 (low); another word: to 1344x1344 those with a longer side (default: V2's route, RGB first)");
    visit("resize_min_pixels", resize_min_pixels,
          "enlarge smaller pictures to this many pixels (0: as the model's folder says)");
    visit("resize_max_pixels", resize_max_pixels,
          "shrink larger pictures to this many pixels (0: as the model's folder says)");
    visit("exif", exif,
          "turn pictures upright by the orientation that cameras store in EXIF (default: as stored, as the published "
          "models were trained)");
  }
};

}  // namespace vlm2vec
