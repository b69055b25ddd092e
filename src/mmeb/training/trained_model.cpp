#include "mmeb/training/trained_model.h"

#include <algorithm>

#include "io/nearest.h"
#include "nn/state.h"
#include "vlm/model.h"

namespace vlm2vec {
namespace {

LoraConfig lora_config(const TrainOptions& o, const TensorNames& names) {
  LoraConfig config{int(o.lora_r), o.lora_alpha, o.lora_dropout, o.lora_target_modules, o.use_dora};
  for (std::string& name : config.target_modules) name = canonical_name(name, names);
  if (config.target_modules.size() == 1 && is_all_linear(config.target_modules[0]))
    config.target_modules.clear(), config.target_pattern = kAllLinear;
  return config;
}

// "visual.blocks.1" means visual.blocks.1.attn.qkv.weight, and not visual.blocks.10.
bool begins_with(const std::string& name, const std::string& path) {
  return name.starts_with(path) && (name.size() == path.size() || name[path.size()] == '.');
}

// Returns all prefixes: for visual.blocks.0.norm1.weight visual, visual.blocks, visual.blocks.0, …
std::vector<std::string> beginnings(const std::vector<Parameter*>& parameters) {
  std::set<std::string> all;
  for (const Parameter* p : parameters)
    for (std::string path = p->path(); all.insert(path).second && path.find('.') != std::string::npos;)
      path.resize(path.rfind('.'));
  return {all.begin(), all.end()};
}

}  // namespace

TrainedModel load_trained_model(TrainOptions& o, const std::optional<FoundCheckpoint>& checkpoint,
                                const EncoderOptions& encoder_options, std::vector<std::string>& notes) {
  const bool adapters = o.lora || !o.adapter.empty();
  const std::filesystem::path adapter = !adapters    ? ""
                                        : checkpoint ? checkpoint->folder
                                                     : std::filesystem::path(o.adapter);
  const ModelFolder folder =
      look_at_model_folder(checkpoint && !adapters ? checkpoint->folder : std::filesystem::path(o.model_name), adapter);
  if (folder.own_adapter && o.adapter.empty())
    fail(Exit::data, o.model_name, ": has an adapter beside its weights; train the adapter with --adapter ",
         o.model_name, ", or merge both and train the result: vlm2vec merge --model_name ", o.model_name, " --adapter ",
         o.model_name, " --output_dir MERGED");
  if (!checkpoint) folder.require_one_adapter();
  EncoderOptions options = encoder_options;  // with the positions of the trained model
  if (const Family& family = family_of(folder.config);
      options.image_positions.empty() && family.rope == Rope::multimodal) {
    options.image_positions = read_processor_settings(folder.processor, family).image_positions;
    if (options.image_positions.empty()) options.image_positions = "1d";
  }
  TrainedModel model{std::make_unique<Encoder>(folder, options),
                     {},
                     o.model_name,
                     spelling_of(o.adapter_names),
                     o.precision == "bf16" && !adapters};
  Encoder& encoder = *model.encoder;
  Backbone& backbone = *encoder.backbone;
  backbone.gradient_checkpointing = o.gradient_checkpointing;
  notes = encoder.notes;
  if (!adapters) return model;
  if (!adapter.empty()) {
    model.lora = load_adapter(backbone, adapter, adapter_options(o), &backbone.dropout, notes);
    const LoraConfig& own = model.lora->config;  // the folder's configuration counts
    o.lora_r = own.rank, o.lora_alpha = own.alpha, o.lora_dropout = own.dropout,
    o.lora_target_modules = own.target_pattern.empty() ? own.target_modules : std::vector{own.target_pattern},
    o.use_dora = own.use_dora;
  } else {
    model.lora = attach_lora(backbone, lora_config(o, backbone.names()), &backbone.dropout);
    model.lora->initialise(o.seed);
    const bool chosen = o.lora_target_modules != TrainOptions().lora_target_modules;  // the default fits many models
    if (const std::string note = model.lora->unmatched_note(); chosen && !note.empty()) notes.push_back(note);
  }
  return model;
}

std::vector<Parameter*> parameters_to_train(const TrainedModel& model, const TrainOptions& o) {
  const std::vector<Parameter*> all = model.lora ? model.lora->parameters() : model.encoder->backbone->parameters();
  const TensorNames& names = model.encoder->backbone->names();
  std::vector<Parameter*> rest = all;
  const auto freeze = [&](const std::string& path) {
    std::erase_if(rest, [&](const Parameter* p) { return begins_with(p->path(), path); });
  };
  for (const std::string& given : o.freeze) {
    std::string path = canonical_name(given.ends_with('.') ? given : given + ".", names);  // in either spelling
    path.pop_back();
    const bool known = std::any_of(all.begin(), all.end(), [&](Parameter* p) { return begins_with(p->path(), path); });
    if (!known)
      fail(Exit::usage, "train: --freeze ", given, ": no trained parameter has a name that begins with it",
           nearest_hint(path, beginnings(all)));
    freeze(path);
  }
  if (o.image_encoder_freeze) freeze(names.image_encoder);
  if (rest.empty()) fail(Exit::usage, "train: --freeze and --image_encoder_freeze leave no parameter to train");
  return rest;
}

}  // namespace vlm2vec
