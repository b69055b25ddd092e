// tokenizer.json: {added_tokens, normalizer, pre_tokenizer, post_processor, model: {type, vocab, merges, ...}, ...}.
// Older files are read as such a file: their tokenizer's class says what its other parts are (tokenizer_classes.h).
#include "vlm/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "vlm/tokenizer/bpe.h"
#include "vlm/tokenizer/refusal.h"
#include "vlm/tokenizer/sentencepiece.h"
#include "vlm/tokenizer/token_lists.h"
#include "vlm/tokenizer/tokenizer_classes.h"
#include "vlm/tokenizer/unigram.h"
#include "vlm/tokenizer/wordpiece.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

void check_model(const json& model) {
  const std::string type = type_of(model);
  if (type != "BPE" && type != "Unigram" && type != "WordPiece") refuse("the model is ", shown(type));
  const json& vocab = model.at("vocab");  // emptied, but present
  if (type == "Unigram" ? !vocab.is_array() : !vocab.is_object())
    fail(Exit::data, "the vocabulary of ", type, " is not a ", type == "Unigram" ? "list" : "dictionary");
  if (type != "BPE") return;
  model.at("merges");
  if (has_value(model, "dropout") && model["dropout"] != 0) refuse("the model has dropout ", model["dropout"]);
  constexpr const char* prefix = "continuing_subword_prefix";
  if (has_value(model, prefix) && model[prefix] != "") refuse("the model has ", prefix, " ", model[prefix]);
}

int32_t unknown_token(const json& model, const Vocabulary& vocabulary) {
  if (const auto id = vocabulary.id_of(model.at("unk_token").get<std::string>())) return *id;
  fail(Exit::data, "the model's unk_token ", model["unk_token"], " is not in the vocabulary");
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
  if (has_value(model, "unk_token")) options.unknown = unknown_token(model, vocabulary);
  return options;
}

Unigram::Options unigram_options(const json& model, size_t tokens) {
  Unigram::Options options;
  options.byte_fallback = model.value("byte_fallback", false);
  if (!has_value(model, "unk_id")) return options;
  const json& id = model["unk_id"];
  if (!id.is_number_unsigned() || id >= tokens)
    fail(Exit::data, "the model's unk_id is ", id, ", but there are ", tokens, " tokens");
  options.unknown = id;
  return options;
}

WordPiece::Options wordpiece_options(const json& model, const Vocabulary& vocabulary) {
  return {unknown_token(model, vocabulary), model.at("continuing_subword_prefix"),
          model.at("max_input_chars_per_word")};
}

std::shared_ptr<const TokenModel> make_model(const json& model, bool byte_level, TokenLists& lists,
                                             const std::shared_ptr<const Vocabulary>& vocabulary) {
  const std::string type = type_of(model);
  if (type == "BPE")
    return std::make_shared<Bpe>(vocabulary, lists.ids_of_merges(*vocabulary),
                                 bpe_options(model, byte_level, *vocabulary));
  if (byte_level) refuse("the model ", type, " comes after a ByteLevel pre_tokenizer");
  if (type == "WordPiece") return std::make_shared<WordPiece>(*vocabulary, wordpiece_options(model, *vocabulary));
  const auto options = unigram_options(model, lists.scores.size());
  return std::make_shared<Unigram>(vocabulary, std::move(lists.scores), options);
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
      const auto [begin, end, end_once] = read_post_processor(processor, vocabulary);
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
  auto token_model = make_model(model, splitter.is_byte_level(), lists, vocabulary);
  auto ends = read_post_processor(root.at("post_processor"), *vocabulary);
  return {vocabulary,          lists.added_tokens(),   std::move(normalizer),
          std::move(splitter), std::move(token_model), std::move(ends)};
}

TokenizerParts read_tokenizer_json(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  TokenLists lists;
  json root = read_file(file, [&] {
    json parsed = lists.take_tokenizer_json(file);
    check_model(parsed.at("model"));
    for (const json& token : parsed.at("added_tokens")) lists.take_added(token);
    return parsed;
  });
  if (std::filesystem::exists(config))
    read_file(config, [&] {
      const json settings = read_json(config);
      lists.take_configured(settings);
      apply_class(root, lists, settings);
    });
  return read_file(file, [&] { return assemble(root, std::move(lists)); });
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
  const json root = read_file(config, [&] { return vocab_and_merges_pipeline(lists, read_json(config)); });
  return read_file(merges, [&] { return assemble(root, std::move(lists)); });
}

TokenizerParts read_vocab_txt(const std::filesystem::path& folder) {
  TokenLists lists;
  const std::filesystem::path vocab = folder / "vocab.txt", config = folder / "tokenizer_config.json";
  read_file(vocab, [&] { lists.take_vocab_txt(vocab); });
  const bool is_configured = std::filesystem::exists(config);
  const json root = read_file(is_configured ? config : vocab, [&] {
    return bert_pipeline(lists, is_configured ? read_json(config) : json{{"tokenizer_class", "BertTokenizer"}});
  });
  return read_file(vocab, [&] { return assemble(root, std::move(lists)); });
}

json class_config(const std::filesystem::path& folder, const char* file) {
  if (std::filesystem::exists(folder / "tokenizer_config.json")) return read_json(folder / "tokenizer_config.json");
  fail(Exit::data, folder.string(), ": has ", file, " but neither tokenizer.json nor tokenizer_config.json; ",
       "copy one of the two from the model that it was made from");
}

TokenizerParts read_tokenizer_model(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.model";
  const json config = class_config(folder, "tokenizer.model");
  TokenLists lists;
  read_file(file, [&] { take_bpe(lists, SentencePieceFile::read(file)); });
  const json root = read_file(folder / "tokenizer_config.json", [&] { return llama_pipeline(lists, config); });
  return read_file(file, [&] { return assemble(root, std::move(lists)); });
}

bool is_siglip(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "tokenizer_config.json";
  return std::filesystem::exists(folder / "spiece.model") && std::filesystem::exists(config) &&
         read_file(config, [&] { return tokenizer_class(read_json(config)) == "SiglipTokenizer"; });
}

int32_t padding_id(const std::filesystem::path& folder, const TokenizerParts& parts) {
  const std::filesystem::path config = folder / "tokenizer_config.json";
  std::optional<int32_t> id;
  if (std::filesystem::exists(config))
    read_file(config, [&] {
      const json settings = read_json(config),
                 token = settings.is_object() ? settings.value("pad_token", json()) : json();
      if (token.is_string()) id = parts.vocabulary->id_of(token.get<std::string>());
      if (token.is_object()) id = parts.vocabulary->id_of(token.at("content").get<std::string>());
    });
  return id ? *id : parts.ends.end.empty() ? 0 : parts.ends.end.back();
}

TokenizerParts read_parts(const std::filesystem::path& folder) {
  const auto has = [&](const char* file) { return std::filesystem::exists(folder / file); };
  if (is_siglip(folder)) {
    const std::filesystem::path file = folder / "spiece.model";
    return read_file(file, [&] { return siglip_parts(SentencePieceFile::read(file), class_config(folder, "")); });
  }
  if (has("tokenizer.json")) return read_tokenizer_json(folder);
  if (has("vocab.json")) return read_vocab_and_merges(folder);
  if (has("tokenizer.model")) return read_tokenizer_model(folder);
  if (has("vocab.txt")) return read_vocab_txt(folder);
  if (has("spiece.model"))
    refuse(folder.string(), ": has spiece.model, but tokenizer_config.json does not name SiglipTokenizer");
  fail(Exit::data, folder.string(),
       ": has neither tokenizer.json nor vocab.json, merges.txt and tokenizer_config.json, nor tokenizer.model, ",
       "spiece.model or vocab.txt");
}

}  // namespace

TokenizerParts read_tokenizer(const std::filesystem::path& folder) {
  TokenizerParts parts = read_parts(folder);
  parts.padding = padding_id(folder, parts);
  return parts;
}

}  // namespace vlm2vec
