#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/text.h"
#include "vlm/backbone.h"
#include "vlm/families/blip.h"
#include "vlm/families/clip.h"
#include "vlm/families/family.h"
#include "vlm/families/llava_next.h"
#include "vlm/families/open_clip.h"
#include "vlm/families/phi3_v.h"
#include "vlm/families/qwen2_5_vl.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/families/qwen3_vl.h"
#include "vlm/families/qwen_prompts.h"
#include "vlm/families/siglip.h"
#include "vlm/families/uniir.h"
#include "vlm/image/anyres.h"
#include "vlm/image/center_crop.h"
#include "vlm/image/hd_transform.h"
#include "vlm/image/smart_resize.h"
#include "vlm/image/square.h"
#include "vlm/portable_files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

const decltype(Family::config_tokens) kQwenTokens = {{"bos_token_id", {"<|endoftext|>"}},
                                                     {"eos_token_id", {"<|im_end|>", "<|endoftext|>"}},
                                                     {"vision_start_token_id", {"<|vision_start|>"}},
                                                     {"vision_end_token_id", {"<|vision_end|>"}},
                                                     {"video_token_id", {"<|video_pad|>"}}};

const decltype(Family::config_tokens) kQwen3Tokens(kQwenTokens.begin() + 2, kQwenTokens.end());  // of the whole

std::unique_ptr<PictureRule> qwen2_5_vl_pictures(const json& settings) {
  auto rule = SmartResize::read(settings);
  rule->processor_class = "Qwen2_5_VLProcessor";
  return rule;
}

std::unique_ptr<PictureRule> qwen3_vl_pictures(const json& settings) {
  auto rule = SmartResize::read(settings);
  rule->processor_class = "Qwen3VLProcessor";
  dynamic_cast<SmartResize&>(*rule).sides = Sides::transformers;
  return rule;
}

std::unique_ptr<PictureRule> siglip_pictures(const json& settings) {
  auto rule = std::make_unique<Square>("SiglipImageProcessor", "SiglipProcessor");
  rule->mean = rule->std = {0.5, 0.5, 0.5};
  rule->read(settings);
  return rule;
}

std::unique_ptr<PictureRule> blip2_pictures(const json& settings) {
  auto rule = std::make_unique<Square>("BlipImageProcessor", "Blip2Processor");
  rule->read(settings);
  return rule;
}

const Family kFamilies[] = {
    {.model_type = "qwen2_vl",
     .title = "Qwen2-VL",
     .make = make_qwen2_vl,
     .picture_rule = SmartResize::read,
     .rope = Rope::multimodal,
     .prompts = qwen2_prompts(),
     .image_token = "<|image_pad|>",
     .config_tokens = kQwenTokens,
     .tokenizer_class = "Qwen2Tokenizer",
     .portable_config = portable_config,
     .tiny_config = tiny_qwen2_vl},
    {.model_type = "qwen2_5_vl",
     .title = "Qwen2.5-VL",
     .make = make_qwen2_5_vl,
     .picture_rule = qwen2_5_vl_pictures,
     .rope = Rope::multimodal,
     .prompts = qwen2_prompts(),
     .image_token = "<|image_pad|>",
     .config_tokens = kQwenTokens,
     .tokenizer_class = "Qwen2Tokenizer",
     .portable_config = portable_config,
     .tiny_config = tiny_qwen2_5_vl},
    {.model_type = "phi3_v",
     .title = "Phi-3.5-V",
     .make = make_phi3_v,
     .complete = complete_phi3_v,
     .picture_rule = HdTransform::read,
     .rope = Rope::plain,
     .prompts = vlm2vec_prompts(),
     .image_token = kNumberedImageToken,
     .config_tokens = {{"bos_token_id", {"<s>"}}, {"eos_token_id", {"</s>"}}, {"pad_token_id", {"<|endoftext|>"}}},
     .tokenizer_class = "LlamaTokenizer",
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_phi3_v},
    {.model_type = "qwen3_vl",
     .title = "Qwen3-VL",
     .make = make_qwen3_vl,
     .picture_rule = qwen3_vl_pictures,
     .new_pictures = R"({"min_pixels": 65536, "max_pixels": 16777216, "image_mean": [0.5, 0.5, 0.5],
                         "image_std": [0.5, 0.5, 0.5]})",
     .rope = Rope::multimodal,
     .prompts = qwen3_prompts(),
     .image_token = "<|image_pad|>",
     .config_tokens = kQwen3Tokens,
     .tokenizer_class = "Qwen2Tokenizer",
     .portable_config = portable_qwen3_vl,
     .tiny_config = tiny_qwen3_vl},
    {.model_type = "clip",
     .title = "CLIP",
     .make = make_clip,
     .picture_rule = CenterCrop::read,
     .rope = Rope::none,
     .official_mask = true,
     .prompts = vlm2vec_prompts(),
     .tokenizer_class = "CLIPTokenizer",
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_clip},
    {.model_type = "openclip",
     .title = "OpenCLIP",
     .make = make_clip,
     .own_layout = OwnLayout{"open_clip_config.json", clip_config_of, clip_tensors_of},
     .picture_rule = open_clip_pictures,
     .rope = Rope::none,
     .prompts = vlm2vec_prompts(),
     .tokenizer_class = "CLIPTokenizer",
     .text_cleaning = TextCleaning::open_clip,
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_open_clip},
    {.model_type = "siglip",
     .title = "SigLIP",
     .make = make_siglip,
     .picture_rule = siglip_pictures,
     .rope = Rope::none,
     .official_mask = true,
     .prompts = vlm2vec_prompts(),
     .tokenizer_class = "SiglipTokenizer",
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_siglip},
    {.model_type = "blip-2",
     .title = "BLIP-2",
     .make = make_blip2,
     .picture_rule = blip2_pictures,
     .rope = Rope::none,
     .prompts = vlm2vec_prompts(),
     .tokenizer_class = "BertTokenizer",
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_blip2},
    {.model_type = "uniir-clip-sf",
     .title = "UniIR CLIP_SF",
     .make = make_clip,
     .complete = complete_clip_sf,
     .own_layout = OwnLayout{"clip_sf_config.json", clip_sf_config_of, clip_sf_tensors_of},
     .picture_rule = clip_sf_pictures,
     .rope = Rope::none,
     .prompts = uniir_prompts(),
     .tokenizer_class = "CLIPTokenizer",
     .text_cleaning = TextCleaning::openai,
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_clip_sf},
    {.model_type = "uniir-blip-ff",
     .title = "UniIR BLIP_FF",
     .make = make_blip_ff,
     .own_layout = OwnLayout{"blip_ff_config.json", blip_ff_config_of, blip_ff_tensors_of},
     .picture_rule = blip_ff_pictures,
     .rope = Rope::none,
     .prompts = uniir_prompts(),
     .tokenizer_class = "BertTokenizer",
     .portable_config = [](const std::string& text) { return text; },
     .tiny_config = tiny_blip_ff},
    {.model_type = "llava_next",
     .title = "LLaVA-NeXT",
     .make = make_llava_next,
     .complete = complete_llava_next,
     .picture_rule = AnyRes::read,
     .rope = Rope::plain,
     .prompts = llava_next_prompts(),
     .image_token = "<image>",
     .tokenizer_class = "LlamaTokenizer",
     .portable_config = portable_llava_next,
     .tiny_config = tiny_llava_next},
};

// Families that users may try; a refusal names them.
const std::map<std::string, std::string> kOthers = {
    {"qwen2", "Qwen2, which sees no pictures"}, {"llava", "LLaVA-1.5"}, {"llava_onevision", "LLaVA-OneVision"}};

const Family& family_named_in(const json& config) {
  const auto type = config.is_object() ? config.find("model_type") : config.end();
  if (type == config.end() || !type->is_string())
    fail(Exit::data, "has no model_type; is this the config.json of a Hugging Face model?");
  std::string known;
  for (const Family& family : kFamilies) {
    if (*type == family.model_type) return family;
    known += (known.empty() ? "" : ", ") + family.title + " (" + family.model_type + ")";
  }
  const auto other = kOthers.find(*type);
  fail(Exit::data, "model_type is ", *type, other == kOthers.end() ? "" : ": this is " + other->second,
       "; this program runs ", known);
}

// Refuses quantised weights, which this program cannot read.
void check_precision(const json& config) {
  for (const char* field : {"quantization_config", "compression_config"})
    if (config.contains(field)) {
      const json& how = config.at(field);
      const json method = how.value("quant_method", how.value("format", json("a method without a name")));
      const char* const bits = how.value("load_in_4bit", false)   ? " in 4 bits"
                               : how.value("load_in_8bit", false) ? " in 8 bits"
                                                                  : "";
      fail(Exit::data, field, " says that the weights are quantised by ", method.get<std::string>(), bits,
           "; quantised weights are not read: take the model that they were made from");
    }
}

// Returns f(config.json), or of what stands for it; errors begin with the file.
template <class F>
auto with_config(const std::filesystem::path& file, F&& f) -> decltype(f(json())) {
  const json root = read_settings(file);
  try {
    for (const Family& family : kFamilies)
      if (family.own_layout && file.filename() == family.own_layout->config)
        return f(family.own_layout->config_of(root));
    return f(root);
  } catch (const json::exception& e) {
    fail(Exit::data, file.string(), ": a field is missing or of the wrong type (", reason_of(e), ")");
  } catch (const Error& e) {
    fail(e.code, file.string(), ": ", e.what());
  }
}

}  // namespace

std::span<const Family> families() { return kFamilies; }

std::vector<PromptStyle> all_prompt_styles() {
  std::vector<PromptStyle> all;
  for (const Family& family : kFamilies)
    for (const PromptStyle& style : family.prompts)
      if (std::ranges::find(all, std::string_view(style.name), &PromptStyle::name) == all.end()) all.push_back(style);
  return all;
}

const PromptStyle& prompt_style(const Family& family, const std::string& name) {
  std::vector<std::string> names, others;
  for (const PromptStyle& style : family.prompts) {
    if (name == style.name) return style;
    names.push_back(style.name);
  }
  for (const Family& other : kFamilies)
    if (std::ranges::find(other.prompts, std::string_view(name), &PromptStyle::name) != other.prompts.end())
      others.push_back(other.title);
  fail(Exit::usage, "--prompt: ", name, " is for ", joined(others, ", ", " and "), ", but the model is ", family.title,
       "; expected ", joined(names, ", ", " or "));
}

const PromptStyle* style_named(const Family& family, const std::string& name) {
  return name.empty() ? nullptr : &prompt_style(family, name);
}

const char* prompt_help() {
  static const std::string help = [] {
    std::vector<std::string> names;
    for (const PromptStyle& style : all_prompt_styles()) names.push_back(style.name);
    return "<" + joined(names, "|") +
           "> raw: the text is the prompt, with an image token for each picture (CLIP: none). Others: built from "
           "instruction, text and pictures as the official code of that name builds it";
  }();
  return help.c_str();
}

std::filesystem::path config_file_in(const std::filesystem::path& folder) {
  const std::filesystem::path usual = folder / "config.json";
  if (!std::filesystem::exists(usual))
    for (const Family& family : kFamilies)
      if (family.own_layout && std::filesystem::exists(folder / family.own_layout->config))
        return folder / family.own_layout->config;
  return usual;
}

json read_config(const std::filesystem::path& config_file) {
  return with_config(config_file, [&](json config) {
    const Family& family = family_named_in(config);
    if (family.own_layout && family.complete) family.complete(config, config_file);
    return config;
  });
}

TextCleaning text_cleaning_in(const std::filesystem::path& folder) {
  const std::filesystem::path file = config_file_in(folder);
  if (!std::filesystem::exists(file)) return TextCleaning::none;
  return with_config(file, [](const json& config) {
    const json type = config.is_object() ? config.value("model_type", json()) : json();
    for (const Family& family : kFamilies)
      if (type == family.model_type) return family.text_cleaning;
    return TextCleaning::none;
  });
}

const Family& family_of(const std::filesystem::path& config_file) {
  return with_config(config_file, [](const json& config) -> const Family& { return family_named_in(config); });
}

std::unique_ptr<Backbone> make_backbone(const std::filesystem::path& config_file) {
  return with_config(config_file, [&](json config) {
    const Family& family = family_named_in(config);
    check_precision(config);
    if (family.complete) family.complete(config, config_file);
    return family.make(config);
  });
}

}  // namespace vlm2vec
