#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"
#include "nn/state.h"
#include "vlm/encoder.h"
#include "vlm/model.h"
#include "vlm/model_hash.h"
#include "vlm/sentence_transformers.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {
namespace fs = std::filesystem;

namespace {

constexpr FileKind kMergedWeights = {"weights that merge made",
                                     R"({"__metadata__":{"format":"pt","made_by":"vlm2vec merge"})"};

// Returns the text for a picture in the original prompts of the model.
std::string picture_prompt(const ModelFolder& model, const std::string& image_token) {
  const Tokenizer tokenizer = Tokenizer::load(model.tokenizer_folder);
  const std::string start = "<|vision_start|>", end = "<|vision_end|>";
  return tokenizer.id_of(start) && tokenizer.id_of(end) ? start + image_token + end : image_token;
}

// model-00001-of-00002.safetensors for pytorch_model-00001-of-00002.bin; the usual name for a family's own.
fs::path safetensors_name(const fs::path& file) {
  std::string name = file.filename().replace_extension(".safetensors");
  if (constexpr std::string_view torch = "pytorch_"; name.starts_with(torch)) name.erase(0, torch.size());
  return name.starts_with("model") ? name : kWeightsFile;
}

NamedTensors load_renamed(const fs::path& file, const Family& family) {
  NamedTensors stored = load_weights(file);
  return family.own_layout ? family.own_layout->tensors_of(stored) : stored;
}

void require_sentence_transformers_class(const Family& family) {
  if (family.image_token.empty())
    fail(Exit::usage, "merge: --sentence_transformers True is for models whose vector is their last token's; ",
         family.title, " has two towers, so leave the option out");
  if (family.image_token == kNumberedImageToken)
    fail(Exit::usage, "merge: --sentence_transformers True: SentenceTransformer has no class for ", family.title,
         "; leave the option out");
}

// Names stored tensors in the written folder as in Qwen2-VL's own files, which every version of transformers reads.
class StoredNames {
 public:
  StoredNames(Backbone& backbone, const Family& family, const ModelFolder& model)
      : family(family), names_(backbone.names()) {
    backbone.each_parameter([&](Parameter& p) { shapes_[p.path()] = p.shape(); });
    for (const fs::path& file : model.weights)
      for (const auto& [name, stored] : load_renamed(file, family))
        has_embedding_ |= canonical_name(name, names_) == names_.embedding;
  }
  // If only the head is stored, it is the embedding of a model with tied weights.
  std::string written(const std::string& name) const {
    const std::string path = canonical_name(name, names_);
    return path == names_.head && !has_embedding_ ? names_.embedding : path;
  }
  Tensor shaped(const std::string& path, const Tensor& stored) const {
    const auto shape = shapes_.find(path);
    return shape == shapes_.end() ? stored : stored.view(shape->second);
  }
  const Family& family;
  void write_index(const fs::path& from, const fs::path& to) const {
    auto index = nlohmann::ordered_json::parse(read_text(from));
    nlohmann::ordered_json map;
    for (const auto& [name, file] : index["weight_map"].items()) map[written(name)] = safetensors_name(file).string();
    index["weight_map"] = map;
    write_text(to, index.dump(2) + "\n");
  }

 private:
  const TensorNames& names_;
  std::map<std::string, Shape> shapes_;
  bool has_embedding_ = false;
};

// Returns the tensors of one file. Merged ones are computed in f32 and rounded once to the base's type.
std::map<std::string, LazyTensor> merged_tensors(const fs::path& file, const StoredNames& names,
                                                 const std::map<std::string, const Lora*>& changed) {
  std::map<std::string, LazyTensor> tensors;
  for (const auto& [name, stored] : load_renamed(file, names.family)) {
    const std::string path = names.written(name);
    const auto found = changed.find(path);
    const Lora* lora = found == changed.end() ? nullptr : found->second;
    const Tensor shaped = names.shaped(path, stored);
    tensors[path] = {shaped.shape(), shaped.dtype(), [=] { return lora ? lora->merged().to(shaped.dtype()) : shaped; }};
  }
  return tensors;
}

}  // namespace

Exit run_merge(const Command& command, const Arguments& arguments) {
  std::string model_name, output_dir;
  AdapterArguments adapter;
  bool sentence_transformers = false, quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "merge --model_name MODEL --adapter ADAPTER --output_dir MERGED");
  line("model_name", model_name, "<DIR> folder of the checkpoint (Hugging Face layout)");
  adapter.fields(line);
  line("output_dir", output_dir, "<DIR> folder to write; replaces a checkpoint of merge there");
  line("sentence_transformers", sentence_transformers,
       "also write the files that SentenceTransformer needs for the same vectors (works without --adapter)");
  line.require({"model_name", "output_dir"});
  line.threads().quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  check_output_folder("merge: --output_dir", output_dir,
                      {{"the folder of the model itself", model_name}, {"the --adapter", adapter.adapter}});
  const ModelFolder model = look_at_model_folder(model_name, adapter.adapter);
  model.require_one_adapter();
  if (model.adapter.empty() && !sentence_transformers)
    fail(Exit::usage, "merge: --adapter is missing; only --sentence_transformers True works without it");
  if (sentence_transformers) require_sentence_transformers_class(family_of(model.config));
  const auto encoder = std::make_unique<Encoder>(model);  // checks all files copied below
  AttachedLora lora;
  if (!model.adapter.empty())
    lora = load_adapter(*encoder->backbone, model.adapter, adapter_options(adapter), nullptr, encoder->notes);
  print_warning(lora);
  std::set<std::string> replaceable = configuration_files();
  for (const fs::path& file : model.weights) replaceable.insert(safetensors_name(file));
  replaceable.insert({kWeightsFile, kWeightsIndex});
  replaceable.merge(sentence_transformers_files());
  check_replaceable_weights(output_dir, replaceable, kMergedWeights);

  std::map<std::string, const Lora*> changed;
  for (const Lora* l : lora.adapters) changed.emplace(l->base.weight.path(), l);
  const StoredNames names(*encoder->backbone, encoder->family, model);
  write_folder_atomically(output_dir, [&](const fs::path& folder) {
    encoder->processor.write_configuration(folder);
    if (!model.index.empty()) names.write_index(model.index, folder / kWeightsIndex);
    for (const fs::path& file : model.weights)
      stream_safetensors(folder / safetensors_name(file), merged_tensors(file, names, changed),
                         {{"format", "pt"}, {"made_by", "vlm2vec merge"}});
    if (sentence_transformers)
      write_sentence_transformers(folder, encoder->dim(), picture_prompt(model, encoder->image_token()));
  });
  if (const std::string note = other_base_note(model_name, adapter.adapter); !note.empty()) std::cerr << note << '\n';
  if (!quiet) {
    for (const std::string& note : encoder->notes) std::cerr << note << '\n';
    std::cerr << output_dir << ": " << changed.size() << " weights merged\n";
  }
  if (json) std::cout << nlohmann::ordered_json{{"output_dir", output_dir}, {"merged", changed.size()}} << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
