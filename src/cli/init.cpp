#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "io/hub.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/outputs.h"
#include "nn/state.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/portable_files.h"
#include "vlm/processor.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr FileKind kRandomWeights = {"random weights that init made",
                                     R"({"__metadata__":{"format":"pt","made_by":"vlm2vec init"})"};

// Every text of the training rows, queries and positives, with the token that stands for a picture in a prompt.
std::vector<std::string> training_texts(const fs::path& dataset, const std::string& image_token) {
  std::vector<std::string> texts;
  for (const TrainSet& set : read_train_sets(train_folder(dataset)))
    for (size_t i = 0; i < set.rows.size(); ++i) {
      const TrainRow row = set.rows[i];
      texts.push_back(encoder_input(row.query, image_token, {}).text);
      for (const Side& side : row.positives) texts.push_back(encoder_input(side, image_token, {}).text);
    }
  return texts;
}

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  require_folder(from, "a tokenizer");
  Tokenizer::load(from);  // for its errors, which name the files where they are
  for (const std::string& name : tokenizer_files())
    if (fs::exists(from / name)) fs::copy_file(from / name, to / name);
  if (const fs::path config = to / "tokenizer_config.json"; fs::exists(config))
    write_text(config, portable_tokenizer_config(read_text(config)));
}

void learn_tokenizer(const fs::path& dataset, const Qwen2VlConfig& config, const fs::path& folder) {
  const std::vector<std::string> special_tokens = {"<|endoftext|>", "<|image_pad|>"};
  if (config.image_token_id != 1)
    fail(Exit::data, "init: image_token_id is ", config.image_token_id,
         " in the configuration; a learned tokenizer has <|image_pad|> at 1");
  if (config.text.vocab_size < 258)
    fail(Exit::data, "init: vocab_size is ", config.text.vocab_size,
         " in the configuration; 2 special tokens and 256 bytes need 258");
  write_tokenizer_json(folder / "tokenizer.json", train_bpe(training_texts(dataset, special_tokens[1]),
                                                            int(config.text.vocab_size), special_tokens));
}

// Token ids that transformers requires in a configuration, and Qwen2-VL's tokens for them.
const std::vector<std::pair<const char*, std::vector<const char*>>> kTokenFields = {
    {"bos_token_id", {"<|endoftext|>"}},
    {"eos_token_id", {"<|im_end|>", "<|endoftext|>"}},
    {"vision_start_token_id", {"<|vision_start|>"}},
    {"vision_end_token_id", {"<|vision_end|>"}},
    {"video_token_id", {"<|video_pad|>"}}};

// The given configuration, portable, with the type of the weights and all token ids, without which transformers 4.52
// fails. A token that the tokenizer lacks gets an id behind the vocabulary, which no text has.
void write_config(const fs::path& from, const fs::path& folder, const std::string& dtype) {
  auto config = nlohmann::ordered_json::parse(portable_config(read_text(from)));
  config["torch_dtype"] = dtype == "bf16" ? "bfloat16" : "float32";
  if (config.contains("dtype")) config["dtype"] = config["torch_dtype"];
  const Tokenizer tokenizer = Tokenizer::load(folder);
  int64_t unknown = config.at("vocab_size");
  for (const auto& [field, tokens] : kTokenFields) {
    if (config.contains(field) && !config[field].is_null()) continue;
    std::optional<int64_t> id;
    for (const char* token : tokens)
      if (!id) id = tokenizer.id_of(token);
    config[field] = id ? *id : unknown++;
  }
  write_text(folder / "config.json", config.dump(2) + "\n");
}

// Errors of `load` name the given files, not the temporary folder that they were copied to.
template <class Load>
auto naming_given_files(const fs::path& folder, const fs::path& config, const fs::path& tokenizer, Load load) {
  try {
    return load();
  } catch (const Error& error) {
    std::string text = error.what();
    for (const auto& [from, to] : {std::pair(folder / "config.json", config), std::pair(folder, tokenizer)})
      for (size_t at = 0; (at = text.find(from.string(), at)) != text.npos; at += to.string().size())
        text.replace(at, from.string().size(), to.string());
    fail(error.code, text);
  }
}

void check_options(const std::string& tokenizer, const std::string& train_tokenizer, const std::string& dtype,
                   const ProcessorConfig& processor) {
  if (tokenizer.empty() == train_tokenizer.empty())
    fail(Exit::usage, "init: one of --tokenizer and --train_tokenizer is needed, and not both");
  if (dtype != "f32" && dtype != "bf16") fail(Exit::usage, "init: --dtype: got \"", dtype, "\", expected f32 or bf16");
  if (processor.min_pixels < 1 || processor.max_pixels < processor.min_pixels)
    fail(Exit::usage, "init: --min_pixels ", processor.min_pixels, " and --max_pixels ", processor.max_pixels,
         ", expected 1 or more, the smaller first");
}

}  // namespace

Exit run_init(const Command& command, const Arguments& arguments) {
  std::string config_file, output_dir, tokenizer, train_tokenizer, dtype = "f32";
  ProcessorConfig processor;
  uint64_t seed = 42;
  bool quiet = false, json = false;
  CommandLine line(
      command.name, command.purpose,
      "init --config examples/mini-qwen2-vl.json --train_tokenizer runs/demo/data/MMEB-train --min_pixels 1024 "
      "--max_pixels 9216 --output_dir runs/demo/init");
  line("config", config_file, "<FILE> config.json of the model, Hugging Face's Qwen2-VL");
  line("output_dir", output_dir, "<DIR> folder to write; a checkpoint that init wrote there is replaced");
  line("tokenizer", tokenizer, "<DIR> folder whose tokenizer files are copied");
  line("train_tokenizer", train_tokenizer,
       "<DIR> folder of training sets; a byte-level BPE tokenizer is learned from their texts");
  line("min_pixels", processor.min_pixels, "smaller pictures are enlarged to this area");
  line("max_pixels", processor.max_pixels, "larger pictures are reduced to this area");
  line("dtype", dtype, "<f32|bf16> of the weights, f32 or bf16");
  line("seed", seed, "of the weights");
  line.require({"config", "output_dir"});
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  check_options(tokenizer, train_tokenizer, dtype, processor);
  if (const std::string hint = hub_hint(config_file); !hint.empty() && !fs::exists(config_file))
    fail(Exit::data, config_file, ": no such file, ", hint, "/config.json");
  const Qwen2VlConfig config = Qwen2VlConfig::load(config_file);
  processor.patch_size = config.vision.patch_size;
  processor.temporal_patch_size = config.vision.temporal_patch_size;
  processor.merge_size = config.vision.spatial_merge_size;

  std::set<std::string> replaceable = configuration_files();
  replaceable.insert("model.safetensors");
  check_replaceable_weights(output_dir, replaceable, kRandomWeights);
  int64_t parameters = 0;
  write_folder_atomically(output_dir, [&](const fs::path& folder) {
    if (tokenizer.empty()) learn_tokenizer(train_tokenizer, config, folder);
    else copy_tokenizer(tokenizer, folder);
    write_config(config_file, folder, dtype);
    processor.save(folder);
    const auto encoder = naming_given_files(folder, config_file, tokenizer.empty() ? output_dir : tokenizer,
                                            [&] { return load_encoder(folder, {.load_weights = false}); });
    const DType stored = dtype == "bf16" ? DType::bf16 : DType::f32;
    std::map<std::string, LazyTensor> weights;  // one at a time is in memory
    encoder->each_parameter([&](Parameter& p) {
      parameters += numel(p.shape());
      weights[p.path()] = {p.shape(), stored, [&, stored] {
                             return initial_value(p, config.initializer_range, seed, stored, Device::cpu);
                           }};
    });
    stream_safetensors(folder / "model.safetensors", weights, {{"format", "pt"}, {"made_by", "vlm2vec init"}});
  });
  if (!quiet) std::cerr << output_dir << ": " << parameters << " parameters in " << dtype << "\n";
  if (json)
    std::cout << nlohmann::ordered_json{{"output_dir", output_dir}, {"parameters", parameters}, {"dtype", dtype}}
              << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
