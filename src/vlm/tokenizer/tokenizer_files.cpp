// tokenizer.json: {added_tokens, normalizer, pre_tokenizer, post_processor, model: {type, vocab, merges, ...}, ...}.
// Older files are read as such a file: their tokenizer's class says what its other parts are.
#include "vlm/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "vlm/tokenizer/bpe.h"
#include "vlm/tokenizer/refusal.h"
#include "vlm/tokenizer/token_lists.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

void check_model(const json& model) {
  if (type_of(model) != "BPE") refuse("the model is ", shown(type_of(model)));
  if (has_value(model, "dropout") && model["dropout"] != 0) refuse("the model has dropout ", model["dropout"]);
  constexpr const char* prefix = "continuing_subword_prefix";
  if (has_value(model, prefix) && model[prefix] != "") refuse("the model has ", prefix, " ", model[prefix]);
}

// After ByteLevel nothing is unknown, since every byte has a token.
Bpe::Options bpe_options(const json& model, bool byte_level, const Vocabulary& vocabulary) {
  Bpe::Options options;
  options.byte_level = byte_level;
  options.ignore_merges = model.value("ignore_merges", false);
  if (has_value(model, "end_of_word_suffix")) options.end_of_word = model["end_of_word_suffix"];
  if (byte_level) return options;
  if (options.end_of_word != "") refuse("the model has end_of_word_suffix without a ByteLevel pre_tokenizer");
  options.byte_fallback = model.value("byte_fallback", false);
  options.fuse_unk = model.value("fuse_unk", false);
  if (!has_value(model, "unk_token")) return options;
  options.unknown = vocabulary.id_of(model["unk_token"].get<std::string>());
  if (!options.unknown) fail(Exit::data, "the model's unk_token ", model["unk_token"], " is not in the vocabulary");
  return options;
}

// Returns the id that the post-processor gives a token, checked.
int32_t id_around(const Vocabulary& vocabulary, const std::string& token, const json& id) {
  if (const auto known = vocabulary.id_of(token); known && id == *known) return *known;
  fail(Exit::data, "the post_processor has ", shown(token), " with id ", id, ", which is not that of the vocabulary");
}

TokenizerParts::Ends read_template(const json& part, const Vocabulary& vocabulary) {
  TokenizerParts::Ends ends;
  bool behind = false;  // the text
  for (const json& piece : part.at("single")) {
    if (piece.contains("Sequence")) {
      if (behind || piece["Sequence"].at("id") != "A") refuse("the post_processor has a template for more than a text");
      behind = true;
      continue;
    }
    const json& token = part.at("special_tokens").at(piece.at("SpecialToken").at("id").get<std::string>());
    for (size_t i = 0; i < token.at("ids").size(); ++i)
      (behind ? ends.end : ends.begin).push_back(id_around(vocabulary, token.at("tokens").at(i), token["ids"][i]));
  }
  if (!behind) refuse("the post_processor has a template without a text");
  return ends;
}

TokenizerParts::Ends read_post_processor(const json& part, const Vocabulary& vocabulary) {
  const std::string type = type_of(part);
  const auto id = [&](const char* field) { return id_around(vocabulary, part.at(field).at(0), part[field].at(1)); };
  if (part.is_null() || type == "ByteLevel") return {};
  if (type == "RobertaProcessing" || type == "BertProcessing") return {{id("cls")}, {id("sep")}};
  if (type == "TemplateProcessing") return read_template(part, vocabulary);
  if (type == "Sequence") {  // each puts its tokens around those of the one before
    TokenizerParts::Ends ends;
    for (const json& processor : part.at("processors")) {
      const auto [begin, end] = read_post_processor(processor, vocabulary);
      ends.begin.insert(ends.begin.begin(), begin.begin(), begin.end());
      ends.end.insert(ends.end.end(), end.begin(), end.end());
    }
    return ends;
  }
  refuse("the post_processor is ", shown(type));
}

// Errors that do not name their file get its name.
template <class Read>
auto read_file(const std::filesystem::path& file, Read read) {
  try {
    return read();
  } catch (const json::exception& error) {
    fail(Exit::data, file.string(), ": is not a tokenizer file: ", error.what());
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(file.string())) throw;
    fail(error.code, file.string(), ": ", error.what());
  }
}

// `root`: tokenizer.json without vocabulary, merges and added tokens.
TokenizerParts assemble(const json& root, TokenLists lists) {
  const json& model = root.at("model");
  Normalizer normalizer(root.at("normalizer"));
  Splitter splitter(root.at("pre_tokenizer"));
  const auto vocabulary = std::make_shared<Vocabulary>(lists.vocabulary());
  auto bpe = std::make_shared<Bpe>(vocabulary, lists.ids_of_merges(*vocabulary),
                                   bpe_options(model, splitter.is_byte_level(), *vocabulary));
  auto ends = read_post_processor(root.at("post_processor"), *vocabulary);
  return {vocabulary,          lists.added_tokens(), std::move(normalizer),
          std::move(splitter), std::move(bpe),       std::move(ends)};
}

TokenizerParts read_tokenizer_json(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  TokenLists lists;
  const json root = read_file(file, [&] {
    const json parsed = lists.take_tokenizer_json(file);
    check_model(parsed.at("model"));
    for (const char* part : {"vocab", "merges"}) parsed.at("model").at(part);  // emptied, but present
    for (const json& token : parsed.at("added_tokens")) lists.take_added(token);
    return parsed;
  });
  if (std::filesystem::exists(config)) read_file(config, [&] { lists.take_configured(read_json(config)); });
  return read_file(file, [&] { return assemble(root, std::move(lists)); });
}

// The pipeline that transformers' CLIPTokenizerFast makes of the older files.
json clip_pipeline(const TokenLists& lists, const json& config) {
  const auto with_id = [&](const char* name) {
    const std::string token = config[name].at("content");
    return json{token, std::ranges::find(lists.added, token, &TokenLists::Entry::token)->id};
  };
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)"}}},
                      {"behavior", "Removed"},
                      {"invert", true}};
  const json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", R"(\s+)"}}}, {"content", " "}};
  return {
      {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, spaces, {{"type", "Lowercase"}}}}}},
      {"pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", {split, {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}}},
      {"post_processor", {{"type", "RobertaProcessing"}, {"cls", with_id("bos_token")}, {"sep", with_id("eos_token")}}},
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}}}};
}

// Reads the part of tokenizer_config.json beside the older files: the pipeline of its class, and added tokens. CLIP's
// ends without flags are "normalized", as in transformers 4, but not in 5.
json read_configured_pipeline(TokenLists& lists, json config) {
  const std::string kind = config.at("tokenizer_class");
  if (kind == "CLIPTokenizer" || kind == "CLIPTokenizerFast") {
    for (const char* name : {"bos_token", "eos_token", "unk_token"}) {
      if (!has_value(config, name)) config[name] = name[0] == 'b' ? "<|startoftext|>" : "<|endoftext|>";
      if (config[name].is_string()) config[name] = {{"content", config[name]}, {"normalized", true}};
    }
    lists.take_configured(config);
    return clip_pipeline(lists, config);
  }
  if (kind != "Qwen2Tokenizer" && kind != "Qwen2TokenizerFast") refuse("tokenizer_class is ", shown(kind));
  config.at("added_tokens_decoder");
  lists.take_configured(config);
  json pipeline = qwen2_pipeline();
  pipeline["model"] = {{"type", "BPE"}};
  return pipeline;
}

TokenizerParts read_vocab_and_merges(const std::filesystem::path& folder) {
  TokenLists lists;
  const std::filesystem::path vocab = folder / "vocab.json", merges = folder / "merges.txt",
                              config = folder / "tokenizer_config.json";
  for (const auto& file : {merges, config})
    if (!std::filesystem::exists(file))
      fail(Exit::data, folder.string(), ": has vocab.json but neither tokenizer.json nor ", file.filename().string(),
           "; copy one of the two from the model that it was made from");
  read_file(vocab, [&] {
    if (!lists.take_vocab_json(vocab).is_object()) fail(Exit::data, "is not a dictionary of tokens");
  });
  read_file(merges, [&] { lists.take_merges_txt(merges); });
  const json root = read_file(config, [&] { return read_configured_pipeline(lists, read_json(config)); });
  return read_file(merges, [&] { return assemble(root, std::move(lists)); });
}

}  // namespace

TokenizerParts read_tokenizer(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "tokenizer.json")) return read_tokenizer_json(folder);
  if (std::filesystem::exists(folder / "vocab.json")) return read_vocab_and_merges(folder);
  fail(Exit::data, folder.string(),
       ": has neither tokenizer.json nor vocab.json, merges.txt and tokenizer_config.json");
}

}  // namespace vlm2vec
