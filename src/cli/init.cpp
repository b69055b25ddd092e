#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "io/hub.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/outputs.h"
#include "nn/state.h"
#include "vlm/families/family.h"
#include "vlm/portable_files.h"
#include "vlm/processor_files.h"
#include "vlm/tokenizer/bpe_trainer.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr FileKind kRandomWeights = {"random weights that init made",
                                     R"({"__metadata__":{"format":"pt","made_by":"vlm2vec init"})"};

// Returns the texts of all queries and positives of the training rows, with the model's image token for pictures.
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

void copy_tokenizer(const fs::path& from, const Family& family, const fs::path& to) {
  require_folder(from, "a tokenizer");
  Tokenizer::load(from);  // throws errors that name the original files
  for (const std::string& name : tokenizer_files())
    if (fs::exists(from / name)) fs::copy_file(from / name, to / name);
  if (const fs::path config = to / "tokenizer_config.json"; fs::exists(config))
    write_text(config, portable_tokenizer_config(read_text(config), family.tokenizer_class));
}

void learn_tokenizer(const fs::path& dataset, const Family& family, const InputShape& input, const fs::path& folder) {
  if (family.image_token.empty())
    fail(Exit::usage, "init: a tokenizer of ", family.title, "'s kind is not learned here; give --tokenizer");
  std::vector<std::string> special_tokens = {"<|endoftext|>", family.image_token};
  if (family.image_token == kNumberedImageToken) special_tokens.pop_back();  // no token of the vocabulary
  else if (input.image_token_id != 1)
    fail(Exit::data, "init: image_token_id is ", input.image_token_id,
         " in the configuration, but a learned tokenizer has ", family.image_token, " at 1");
  if (input.vocab_size < 258)
    fail(Exit::data, "init: vocab_size is ", input.vocab_size,
         " in the configuration, but 2 special tokens and 256 bytes need 258");
  write_tokenizer_json(folder / "tokenizer.json",
                       train_bpe(training_texts(dataset, family.image_token), int(input.vocab_size), special_tokens));
}

// Writes the configuration in portable form, with the weights' type and all token ids; transformers 4.52 fails without
// these. A token that the tokenizer lacks gets an id behind the vocabulary, which no text has.
void write_config(const fs::path& from, const Family& family, int64_t vocab_size, const fs::path& folder,
                  const std::string& dtype) {
  auto config = nlohmann::ordered_json::parse(family.portable_config(read_text(from)));
  config["torch_dtype"] = dtype == "bf16" ? "bfloat16" : "float32";
  if (config.contains("dtype")) config["dtype"] = config["torch_dtype"];
  const Tokenizer tokenizer = Tokenizer::load(folder);
  int64_t unknown = vocab_size;
  for (const auto& [field, tokens] : family.config_tokens) {
    if (has_value(config, field)) continue;
    std::optional<int64_t> id;
    for (const char* token : tokens)
      if (!id) id = tokenizer.id_of(token);
    config[field] = id ? *id : unknown++;
  }
  write_text(folder / "config.json", config.dump(2) + "\n");
}

// Makes errors of `load` name the given files, not their temporary copies.
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
                   int64_t min_pixels, int64_t max_pixels) {
  if (tokenizer.empty() == train_tokenizer.empty())
    fail(Exit::usage, "init: give either --tokenizer or --train_tokenizer");
  if (dtype != "f32" && dtype != "bf16") fail(Exit::usage, "init: --dtype: got \"", dtype, "\", expected f32 or bf16");
  if (min_pixels < 0 || max_pixels < 0)
    fail(Exit::usage, "init: --min_pixels ", min_pixels, " and --max_pixels ", max_pixels, ", expected 0 or more");
}

}  // namespace

Exit run_init(const Command& command, const Arguments& arguments) {
  std::string config_file, output_dir, tokenizer, train_tokenizer, dtype = "f32";
  int64_t min_pixels = 0, max_pixels = 0;
  uint64_t seed = 42;
  bool quiet = false, json = false;
  CommandLine line(
      command.name, command.purpose,
      "init --config examples/mini-qwen2-vl.json --train_tokenizer runs/demo/data/MMEB-train --min_pixels 1024 "
      "--max_pixels 9216 --output_dir runs/demo/init");
  line("config", config_file, "<FILE> config.json of the model, as Hugging Face has it");
  line("output_dir", output_dir, "<DIR> folder to write; replaces a checkpoint of init there");
  line("tokenizer", tokenizer, "<DIR> folder whose tokenizer files are copied");
  line("train_tokenizer", train_tokenizer,
       "<DIR> folder of training sets from whose texts a byte-level BPE tokenizer is learned");
  line("min_pixels", min_pixels,
       "enlarge smaller pictures to this many pixels (0: the family's default, Qwen2-VL 3136)");
  line("max_pixels", max_pixels,
       "shrink larger pictures to this many pixels (0: the family's default, Qwen2-VL 1003520)");
  line("dtype", dtype, "<f32|bf16> type of the weights");
  line("seed", seed, "random seed of the weights");
  line.require({"config", "output_dir"});
  line.quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  check_options(tokenizer, train_tokenizer, dtype, min_pixels, max_pixels);
  if (const std::string hint = hub_hint(config_file); !hint.empty() && !fs::exists(config_file))
    fail(Exit::data, config_file, ": no such file, ", hint, "/config.json");
  const Family& family = family_of(config_file);
  const auto backbone = make_backbone(config_file);
  const auto rule = new_picture_rule(family, backbone->input(), min_pixels, max_pixels);

  std::set<std::string> replaceable = configuration_files();
  replaceable.insert("model.safetensors");
  check_replaceable_weights(output_dir, replaceable, kRandomWeights);
  int64_t parameters = 0;
  write_folder_atomically(output_dir, [&](const fs::path& folder) {
    if (tokenizer.empty()) learn_tokenizer(train_tokenizer, family, backbone->input(), folder);
    else copy_tokenizer(tokenizer, family, folder);
    write_config(config_file, family, backbone->input().vocab_size, folder, dtype);
    write_picture_rule(*rule, folder);
    naming_given_files(folder, config_file, tokenizer.empty() ? output_dir : tokenizer,
                       [&] { return load_encoder(folder, {.load_weights = false}); });  // for its errors
    const DType stored = dtype == "bf16" ? DType::bf16 : DType::f32;
    std::map<std::string, LazyTensor> weights;  // one at a time is in memory
    backbone->each_parameter([&](Parameter& p) {
      parameters += numel(p.shape());
      weights[p.path()] = {p.shape(), stored, [&, stored] {
                             return initial_value(p, backbone->initial_std(p), seed, stored, Device::cpu);
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
