// Options of every command that loads a model: the model, and how it reads a row. An option list is written once:
// visiting its fields makes the command line, --help, the printout and the JSON of a run.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace vlm2vec {

// Begins a group of options in --help; visitors without a section() ignore groups.
template <class Visit>
void section(Visit& visit, const char* title) {
  if constexpr (requires { visit.section(title); }) visit.section(title);
}

// An adapter, and the parts of it to use.
struct AdapterArguments {
  std::string adapter;
  bool use_dora = true, allow_partial_adapter = false, adapter_norms = false;

  template <class Visit>
  void fields(Visit&& visit, bool training = false) {
    visit("adapter", adapter,
          training ? "<DIR> PEFT folder (LoRA or DoRA) to train further, with its own rank, alpha, dropout and layers"
                   : "<DIR> PEFT folder to apply (LoRA or DoRA)");
    visit("use_dora", use_dora,
          training ? "True: DoRA. False: LoRA; the magnitude vectors of a DoRA adapter are ignored"
                   : "False: ignore the magnitude vectors of a DoRA adapter");
    visit("allow_partial_adapter", allow_partial_adapter,
          "use the part of the adapter that matches layers of the model, and leave out the rest");
    visit("adapter_norms", adapter_norms, "print the norm of the adapter's change s*BA for each module");
  }
};

// True, False, or as the model was trained. In files the last is false, as before there was a choice, and False a text.
struct MaskChoice {
  std::optional<bool> official;

  template <class Json>
  friend void to_json(Json& json, const MaskChoice& choice) {
    if (choice.official == false) json = "False";
    else json = choice.official.has_value();
  }
  template <class Json>
  friend void from_json(const Json& json, MaskChoice& choice) {
    choice.official.reset();
    if (json.is_string() || json == true) choice.official = !json.is_string();
  }
};

// The model, and how it reads a row.
struct ModelOptions : AdapterArguments {
  std::string model_name, precision = "f32", fusion, image_resolution, image_positions;
  int64_t dim = 0, max_len = 0, resize_min_pixels = 0, resize_max_pixels = 0, num_crops = 0;
  bool exif = false;
  MaskChoice official_mask;

  template <class Visit>
  void fields(Visit&& visit, bool training = false) {
    section(visit, "Model");
    visit("model_name", model_name, "<DIR> folder of the checkpoint (Hugging Face layout)");
    AdapterArguments::fields(visit, training);
    visit("precision", precision,
          training ? "<f32|bf16> f32, or bf16 matrix products with f32 accumulation (full training then stores bf16 "
                     "weights and f32 master copies); without AVX512-BF16 or AMX no faster than f32. On cuda and emu "
                     "activations are bf16, too"
                   : "<f32|bf16> f32, or bf16 matrix products with f32 accumulation (without AVX512-BF16 or AMX no "
                     "faster than f32); on cuda and emu activations are bf16, too");
    visit("dim", dim,
          "keep only the first numbers of each vector and normalise it again, for models trained so (Matryoshka; "
          "0: all numbers)");
    visit("max_len", max_len,
          "most tokens of an input, pictures included; longer text is cut, pictures never (0: the model's own limit, "
          "if any)");
    visit("official_mask", official_mask,
          "CLIP only: no token attends to <|endoftext|>, nor does that token to itself. VLM2Vec's evaluation of CLIP "
          "does so, since padding has the same id (default: as the model was trained, else as in CLIP's own code)");
    visit("fusion", fusion,
          "<official> BLIP-2 only: a picture's first query vector and a text's first token, both before their "
          "projections, as in VLM2Vec's evaluation (default: the projected vectors)");
    section(visit, "Pictures");
    visit("image_positions", image_positions,
          "<1d|3d> positions of pictures without <|vision_start|>, as in VLM2Vec's prompts. 1d: counted like text "
          "(VLM2Vec, transformers up to 5.2). 3d: by row and column (transformers since 5.3). Default: as the model "
          "was trained, else 1d");
    visit("image_resolution", image_resolution,
          "<high|mid|low|WORD> VLM2Vec V1's route: pictures are first resized, in the file's own mode. high: to "
          "1344x1344; mid: to 672x672; low: to 128x128, with LLaVA to 336x336. Any other WORD: to 1344x1344, but only "
          "those with a side above 1344. Default: V2's route, RGB first");
    visit("resize_min_pixels", resize_min_pixels,
          "enlarge smaller pictures to this many pixels (0: as the model's folder says)");
    visit("resize_max_pixels", resize_max_pixels,
          "shrink larger pictures to this many pixels (0: as the model's folder says)");
    visit("num_crops", num_crops,
          "Phi-3.5-V only: most tiles that a picture is cut into (0: as the model's folder says; VLM2Vec: 4, or 16)");
    visit("exif", exif,
          "turn pictures upright by the EXIF orientation of cameras (default: as stored, like the training of the "
          "published models)");
  }
};

}  // namespace vlm2vec
