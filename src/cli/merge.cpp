#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "mmeb/adapter_base.h"
#include "mmeb/model.h"
#include "mmeb/outputs.h"
#include "nn/state.h"
#include "tensor/io/files.h"
#include "vlm/encoder.h"
#include "vlm/sentence_transformers.h"
#include "vlm/tokenizer.h"

namespace vlm2vec {
namespace fs = std::filesystem;

namespace {

constexpr FileKind kMergedWeights = {"weights that merge made",
                                     R"({"__metadata__":{"format":"pt","made_by":"vlm2vec merge"})"};

// What stands for a picture in the prompts of the model's makers.
std::string picture_prompt(const ModelFolder& model, const std::string& image_token) {
  const Tokenizer tokenizer = Tokenizer::load(model.tokenizer_folder);
  const std::string start = "<|vision_start|>", end = "<|vision_end|>";
  return tokenizer.id_of(start) && tokenizer.id_of(end) ? start + image_token + end : image_token;
}

}  // namespace

Exit run_merge(const Command& command, const Arguments& arguments) {
  std::string model_name, output_dir;
  AdapterArguments adapter;
  bool sentence_transformers = false, quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "merge --model_name MODEL --adapter ADAPTER --output_dir MERGED");
  line("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
  adapter.fields(line);
  line("output_dir", output_dir, "folder to write; a checkpoint that merge wrote there is replaced");
  line("sentence_transformers", sentence_transformers,
       "also write what SentenceTransformer needs to give the same vectors (--adapter may be left out then)");
  line.require({"model_name", "output_dir"});
  line.threads();
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  check_output_folder("merge: --output_dir", output_dir,
                      {{"the folder of the model itself", model_name}, {"the --adapter", adapter.adapter}});
  const ModelFolder model = look_at_model_folder(model_name, adapter.adapter);
  model.require_one_adapter();
  if (model.adapter.empty() && !sentence_transformers)
    fail(Exit::usage, "merge: --adapter is missing; only --sentence_transformers True works without it");
  const auto encoder = load_encoder(model);  // checks everything that is copied below
  AttachedLora lora;
  if (!model.adapter.empty())
    lora = load_adapter(*encoder, model.adapter, adapter_options(adapter), nullptr, encoder->notes);
  print_warning(lora);
  std::set<std::string> replaceable = configuration_files();
  for (const fs::path& file : model.weights) replaceable.insert(file.filename());
  replaceable.insert({kWeightsFile, kWeightsIndex});
  replaceable.merge(sentence_transformers_files());
  check_replaceable_weights(output_dir, replaceable, kMergedWeights);

  std::map<std::string, const Lora*> changed;
  for (const Lora* l : lora.adapters) changed.emplace(l->base.weight.path(), l);
  write_folder_atomically(output_dir, [&](const fs::path& folder) {
    encoder->write_configuration(folder);
    if (model.sharded) fs::copy_file(model.path / kWeightsIndex, folder / kWeightsIndex);
    for (const fs::path& file : model.weights) {  // tensor by tensor: f32, rounded once to the type the base has
      std::map<std::string, LazyTensor> tensors;
      for (const auto& [name, stored] : load_safetensors(file)) {
        const auto found = changed.find(canonical_name(name));
        const Lora* lora = found == changed.end() ? nullptr : found->second;
        tensors[name] = {stored.shape(), stored.dtype(),
                         [=, t = stored] { return lora ? lora->merged().to(t.dtype()) : t; }};
      }
      stream_safetensors(folder / file.filename(), tensors, {{"format", "pt"}, {"made_by", "vlm2vec merge"}});
    }
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
