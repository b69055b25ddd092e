#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "mmeb/adapter_base.h"
#include "mmeb/model.h"
#include "nn/state.h"
#include "tensor/io/files.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndex = "model.safetensors.index.json";
// model.safetensors, or the shards of the index.
std::set<std::string> weight_files(const fs::path& folder) {
  if (fs::exists(folder / "model.safetensors")) return {"model.safetensors"};
  std::set<std::string> files;
  const nlohmann::json index = read_json(folder / kIndex);
  for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file);
  return files;
}

}  // namespace

Exit run_merge(const Command& command, const Arguments& arguments) {
  std::string model_name, output_dir;
  AdapterArguments adapter;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "merge --model_name MODEL --adapter ADAPTER --output_dir MERGED");
  line("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
  adapter.fields(line);
  line("output_dir", output_dir, "folder to write; a checkpoint that is there is replaced");
  line.require({"model_name", "adapter", "output_dir"});
  line.threads();
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  std::error_code ignored;
  if (fs::equivalent(model_name, output_dir, ignored))
    fail(Exit::usage, "merge: --output_dir is the folder of the model itself, ", model_name, "; choose another");
  const auto encoder = load_encoder(model_name);  // checks everything that is copied below
  const AttachedLora lora = load_adapter(*encoder, adapter.adapter, adapter_options(adapter), nullptr, encoder->notes);
  const std::set<std::string> weights = weight_files(model_name);
  std::set<std::string> replaceable = configuration_files();
  replaceable.insert(weights.begin(), weights.end());
  replaceable.insert({"model.safetensors", kIndex});
  check_replaceable(output_dir, replaceable, "a checkpoint");

  std::map<std::string, const Lora*> changed;
  for (const Lora* l : lora.adapters) changed.emplace(l->base.weight.path(), l);
  write_folder_atomically(output_dir, [&](const fs::path& folder) {
    for (const std::string& name : configuration_files())
      if (fs::exists(model_name / fs::path(name))) fs::copy_file(model_name / fs::path(name), folder / name);
    if (!weights.contains("model.safetensors")) fs::copy_file(model_name / fs::path(kIndex), folder / kIndex);
    for (const std::string& file : weights) {  // tensor by tensor: f32, rounded once to the type the base has
      std::map<std::string, LazyTensor> tensors;
      for (const auto& [name, stored] : load_safetensors(model_name / fs::path(file))) {
        const auto found = changed.find(canonical_name(name));
        const Lora* lora = found == changed.end() ? nullptr : found->second;
        tensors[name] = {stored.shape(), stored.dtype(),
                         [=, t = stored] { return lora ? lora->merged().to(t.dtype()) : t; }};
      }
      stream_safetensors(folder / file, tensors);
    }
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
