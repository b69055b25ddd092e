#include "vlm/tokenizer/tokenizer_classes.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "io/files.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

void require_class(const json& config, const char* name) {
  if (tokenizer_class(config) != name) refuse("tokenizer_class is ", shown(tokenizer_class(config)));
}

bool setting(const json& config, const char* name, bool otherwise) {
  return has_value(config, name) ? config[name].get<bool>() : otherwise;
}

// Fills in the class's own tokens where the configuration has none.
json with_tokens(json config, std::initializer_list<std::pair<const char*, const char*>> defaults) {
  for (const auto& [name, token] : defaults)
    if (!has_value(config, name)) config[name] = token;
  return config;
}

std::string spelling(const json& token) { return token.is_object() ? token.at("content") : token; }

uint64_t id_of(const TokenLists& lists, const std::string& token) {
  for (const auto* list : {&lists.added, &lists.vocab})
    if (const auto found = std::ranges::find(*list, token, &TokenLists::Entry::token); found != list->end())
      return found->id;
  fail(Exit::data, "the tokenizer has no token ", shown(token));
}

// A template with the configuration's tokens of these names, or none, around a text.
json template_of(const TokenLists& lists, const json& config, const char* begin, const char* end) {
  json processor = {{"type", "TemplateProcessing"}, {"single", json::array()}, {"special_tokens", json::object()}};
  const auto add = [&](const char* name) {
    if (!name) return;
    const std::string token = spelling(config.at(name));
    processor["single"].push_back({{"SpecialToken", {{"id", token}}}});
    processor["special_tokens"][token] = {{"tokens", {token}}, {"ids", {id_of(lists, token)}}};
  };
  add(begin);
  processor["single"].push_back({{"Sequence", {{"id", "A"}}}});
  add(end);
  return processor;
}

json replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

json sequence(const json& normalizers) { return {{"type", "Sequence"}, {"normalizers", normalizers}}; }

json clip_pipeline(const TokenLists& lists, const json& config) {
  const auto with_id = [&](const char* name) {
    const std::string token = spelling(config[name]);
    return json{token, id_of(lists, token)};
  };
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)"}}},
                      {"behavior", "Removed"},
                      {"invert", true}};
  const json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", R"(\s+)"}}}, {"content", " "}};
  return {
      {"normalizer", sequence({{{"type", "NFC"}}, spaces, {{"type", "Lowercase"}}})},
      {"pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", {split, {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}}},
      {"post_processor", {{"type", "RobertaProcessing"}, {"cls", with_id("bos_token")}, {"sep", with_id("eos_token")}}},
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}}}};
}

// A blank goes before a text unless add_prefix_space is false or null, as in transformers 4.52.
void set_llama_blanks(json& root, const json& config) {
  const bool prefix = !config.contains("add_prefix_space") || config["add_prefix_space"] == true;
  root["normalizer"] = root["pre_tokenizer"] = nullptr;
  if (!setting(config, "legacy", true))
    root["pre_tokenizer"] = {{"type", "Metaspace"},
                             {"replacement", blank_mark},
                             {"prepend_scheme", prefix ? "first" : "never"},
                             {"split", false}};
  else if (!prefix) root["normalizer"] = replace(" ", blank_mark);
  else root["normalizer"] = sequence({{{"type", "Prepend"}, {"prepend", blank_mark}}, replace(" ", blank_mark)});
}

void set_llama_ends(json& root, const TokenLists& lists, const json& config) {
  const bool begins = setting(config, "add_bos_token", true), ends = setting(config, "add_eos_token", false);
  root["post_processor"] = template_of(lists, with_tokens(config, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}),
                                       begins ? "bos_token" : nullptr, ends ? "eos_token" : nullptr);
}

void set_bert_text(json& normalizer, const json& config) {
  normalizer["lowercase"] = setting(config, "do_lower_case", true);
  normalizer["handle_chinese_chars"] = setting(config, "tokenize_chinese_chars", true);
  normalizer["strip_accents"] = has_value(config, "strip_accents") ? config["strip_accents"] : json();
}

// Without ASCII punctuation; what Python calls white space becomes single blanks, and none are at the ends.
std::string siglip_text(std::string_view piece, bool begins_text) {
  std::string text = begins_text ? blank_mark : "";
  bool blank = false;
  for (size_t i = 0; i < piece.size();) {
    const auto [code, length] = character_at(piece, i);
    if (is_white_space(code) || (code >= 0x1C && code <= 0x1F)) {
      blank = !text.empty();
    } else if (!is_ascii_punctuation(code)) {
      if (blank) text += ' ';
      blank = false;
      text += piece.substr(i, length);
    }
    i += length;
  }
  return text;
}

}  // namespace

// CLIP's ends without flags are "normalized", as in transformers 4, but not in 5.
json vocab_and_merges_pipeline(TokenLists& lists, json config) {
  config.at("tokenizer_class");
  if (tokenizer_class(config) == "CLIPTokenizer") {
    for (const char* name : {"bos_token", "eos_token", "unk_token"}) {
      if (!has_value(config, name)) config[name] = name[0] == 'b' ? "<|startoftext|>" : "<|endoftext|>";
      if (config[name].is_string()) config[name] = {{"content", config[name]}, {"normalized", true}};
    }
    lists.take_configured(config);
    return clip_pipeline(lists, config);
  }
  require_class(config, "Qwen2Tokenizer");
  config.at("added_tokens_decoder");
  lists.take_configured(config);
  json pipeline = qwen2_pipeline();
  pipeline["model"] = {{"type", "BPE"}};
  return pipeline;
}

json bert_pipeline(TokenLists& lists, const json& given) {
  require_class(given, "BertTokenizer");
  const json config = with_tokens(given, {{"unk_token", "[UNK]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"cls_token", "[CLS]"},
                                          {"mask_token", "[MASK]"}});
  lists.take_configured(config);
  json root = {{"normalizer", {{"type", "BertNormalizer"}, {"clean_text", true}}},
               {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
               {"post_processor", template_of(lists, config, "cls_token", "sep_token")},
               {"model",
                {{"type", "WordPiece"},
                 {"unk_token", spelling(config["unk_token"])},
                 {"continuing_subword_prefix", "##"},
                 {"max_input_chars_per_word", 100}}}};
  set_bert_text(root["normalizer"], config);
  return root;
}

json llama_pipeline(TokenLists& lists, const json& given) {
  require_class(given, "LlamaTokenizer");
  const json config = with_tokens(given, {{"unk_token", "<unk>"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}});
  lists.take_configured(config);
  json root = {{"model",
                {{"type", "BPE"},
                 {"unk_token", spelling(config["unk_token"])},
                 {"fuse_unk", true},
                 {"byte_fallback", true}}}};
  set_llama_blanks(root, config);
  set_llama_ends(root, lists, config);
  return root;
}

void take_bpe(TokenLists& lists, const SentencePieceFile& file) {
  if (file.model_type != 2) refuse("the model_type is ", file.model_type);
  std::map<std::string_view, int32_t> ids;
  for (int32_t id = 0; const auto& piece : file.pieces) {
    lists.vocab.push_back({piece.text, uint64_t(id)});
    if (piece.type == SentencePieceFile::control || piece.type == SentencePieceFile::user_defined)
      lists.added.push_back({piece.text, uint64_t(id)});
    ids.emplace(piece.text, id++);
  }
  struct Merge {
    float score;
    int64_t characters_left, characters_right;
    int32_t left, right;
  };
  const auto characters = [](std::string_view text) {
    return std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; });
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const std::string_view piece = file.pieces[id].text;
    const size_t first = merges.size();
    for (size_t i = 1; i < piece.size(); ++i) {
      const auto left = ids.find(piece.substr(0, i)), right = ids.find(piece.substr(i));
      if (left != ids.end() && right != ids.end())
        merges.push_back({id < 3 ? 0 : file.pieces[id].score, characters(left->first), characters(right->first),
                          left->second, right->second});
    }
    std::sort(merges.begin() + int64_t(first), merges.end(), [](const Merge& a, const Merge& b) {
      return std::tie(a.left, a.right) < std::tie(b.left, b.right);
    });
  }
  std::ranges::stable_sort(merges, [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.characters_left, a.characters_right) >
           std::tie(b.score, b.characters_left, b.characters_right);
  });
  for (const Merge& merge : merges)
    lists.merges.push_back({file.pieces[size_t(merge.left)].text, file.pieces[size_t(merge.right)].text});
}

// The text is changed in three steps. Before tokens are looked for: lower case, and a typed mark is a blank. In pieces
// between them: siglip_text(). Last: SentencePiece's own normaliser.
TokenizerParts siglip_parts(const SentencePieceFile& file, const json& given) {
  const json config = with_tokens(given, {{"unk_token", "<unk>"}, {"eos_token", "</s>"}, {"pad_token", "</s>"}});
  TokenLists lists;
  for (const auto& piece : file.pieces) lists.vocab.push_back({piece.text, lists.vocab.size()});
  lists.take_configured(config);
  json steps = {replace(blank_mark, " ")};
  if (setting(config, "do_lower_case", true)) steps.push_back({{"type", "Lowercase"}});
  Normalizer normalizer(sequence(steps));
  const auto vocabulary = std::make_shared<Vocabulary>(lists.vocabulary());
  std::vector<AddedToken> added = lists.added_tokens();
  for (AddedToken& token : added) token.normalized = normalizer(token.text) == token.text;
  SentencePieceFile without_prefix = file;
  without_prefix.add_dummy_prefix = false;
  auto model = std::make_shared<SentencePieceUnigram>(without_prefix, vocabulary, spelling(config["unk_token"]));
  TokenizerParts::Ends ends = {{}, {int32_t(id_of(lists, spelling(config["eos_token"])))}, true};
  return {vocabulary,           std::move(added), std::move(normalizer),
          Splitter(siglip_text), std::move(model), std::move(ends)};
}

void apply_class(json& root, const TokenLists& lists, const json& config) {
  if (tokenizer_class(config) == "LlamaTokenizer") {
    if (has_value(config, "add_prefix_space")) set_llama_blanks(root, config);
    set_llama_ends(root, lists, config);
  }
  if (tokenizer_class(config) == "BertTokenizer" && type_of(root.at("normalizer")) == "BertNormalizer")
    set_bert_text(root["normalizer"], config);
}

}  // namespace vlm2vec
