// tokenizer.json: {added_tokens, normalizer, pre_tokenizer, model: {vocab: {token: id}, merges}, ...}; a merge is "a b"
// in older files and ["a", "b"] in newer ones.
#include "vlm/bpe_vocabulary.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/files.h"
#include "vlm/pretokenizer.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// A field that is there and not null.
bool is_set(const json& object, const char* field) { return object.contains(field) && !object[field].is_null(); }

std::string type_of(const json& part) { return part.is_null() ? "null" : part.at("type").get<std::string>(); }

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  fail(Exit::data, parts..., "; this program reads byte-level BPE as in Qwen2");
}

bool asks_for_nfc(const json& normalizer) {
  if (!normalizer.is_null() && type_of(normalizer) != "NFC") refuse("the normalizer is ", type_of(normalizer));
  return !normalizer.is_null();
}

void check_pre_tokenizer(const json& part) {
  if (type_of(part) != "Sequence") refuse("the pre_tokenizer is ", type_of(part));
  const json& steps = part.at("pretokenizers");
  if (steps.size() != 2 || type_of(steps[0]) != "Split" || type_of(steps[1]) != "ByteLevel") {
    std::string names;
    for (const json& step : steps) names += " " + type_of(step);
    refuse("the pre_tokenizer's steps are", names);
  }
  const json &split = steps[0], &bytes = steps[1];
  if (split.at("pattern") != json{{"Regex", qwen2_split_pattern}}) refuse("the split pattern is ", split["pattern"]);
  if (split.at("behavior") != "Isolated") refuse("the split's behavior is ", split["behavior"]);
  if (split.value("invert", false)) refuse("the split has invert");
  for (const char* option : {"add_prefix_space", "use_regex"})
    if (bytes.value(option, true)) refuse("the ByteLevel pre_tokenizer has ", option);
}

// Only options that can change the ids: an unknown token or byte_fallback cannot, since every byte has a token.
void check_model(const json& model) {
  if (type_of(model) != "BPE") refuse("the model is ", type_of(model));
  if (is_set(model, "dropout") && model["dropout"] != 0) refuse("the model has dropout ", model["dropout"]);
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (is_set(model, affix) && model[affix] != "") refuse("the model has ", affix, " ", model[affix]);
  if (model.value("ignore_merges", false)) refuse("the model has ignore_merges");
}

void check_post_processor(const json& part) {
  if (!part.is_null() && type_of(part) != "ByteLevel") refuse("the post_processor is ", type_of(part));
}

void place(BpeVocabulary& vocabulary, const std::string& token, int64_t id) {
  constexpr int64_t most = 1 << 24;  // a wrong id must not become an allocation
  if (id < 0 || id >= most) fail(Exit::data, "token ", json(token), " has id ", id);
  if (id >= int64_t(vocabulary.tokens.size())) vocabulary.tokens.resize(id + 1);
  std::string& slot = vocabulary.tokens[id];
  if (!slot.empty() && slot != token) fail(Exit::data, "tokens ", json(slot), " and ", json(token), " have id ", id);
  slot = token;
}

void read_added_tokens(BpeVocabulary& vocabulary, const json& list) {
  for (const json& token : list) {
    const std::string text = token.at("content");
    if (text.empty()) fail(Exit::data, "an added token is empty");
    for (const char* option : {"single_word", "lstrip", "rstrip", "normalized"})
      if (token.value(option, false)) refuse("added token ", json(text), " has ", option);
    const int64_t id = token.at("id");
    place(vocabulary, text, id);
    vocabulary.added.push_back({text, int32_t(id)});
  }
}

void read_merges(BpeVocabulary& vocabulary, const json& vocab, const json& list) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) ids.emplace(token, id.get<int32_t>());
  const auto id_of = [&](std::string_view token) {
    const auto found = ids.find(token);
    if (found == ids.end()) fail(Exit::data, "a merge needs the token ", json(token), ", which the vocabulary lacks");
    return found->second;
  };
  std::string merged;
  for (const json& merge : list) {
    std::string_view left, right;
    if (merge.is_string()) {
      const std::string_view line = merge.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const size_t blank = line.find(' ');
      if (blank == line.npos) fail(Exit::data, "merge ", merge, " has no blank between two tokens");
      left = line.substr(0, blank), right = line.substr(blank + 1);
    } else {
      left = merge.at(0).get_ref<const std::string&>(), right = merge.at(1).get_ref<const std::string&>();
    }
    merged.assign(left).append(right);
    vocabulary.merges.push_back({id_of(left), id_of(right), id_of(merged)});
  }
}

}  // namespace

BpeVocabulary read_tokenizer_json(const std::filesystem::path& file) {
  const json root = read_json(file);
  try {
    const json& model = root.at("model");
    check_model(model);
    check_pre_tokenizer(root.at("pre_tokenizer"));
    check_post_processor(root.at("post_processor"));
    BpeVocabulary vocabulary;
    vocabulary.nfc = asks_for_nfc(root.at("normalizer"));
    for (const auto& [token, id] : model.at("vocab").items()) place(vocabulary, token, id);
    read_merges(vocabulary, model["vocab"], model.at("merges"));
    read_added_tokens(vocabulary, root.at("added_tokens"));
    return vocabulary;
  } catch (const json::exception& error) {
    fail(Exit::data, file.string(), ": is not a tokenizer.json: ", error.what());
  } catch (const Error& error) {
    fail(error.code, file.string(), ": ", error.what());
  }
}

void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary) {
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const ordered_json split = {
      {"type", "Split"}, {"pattern", {{"Regex", qwen2_split_pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  ordered_json added = ordered_json::array(), vocab = ordered_json::object(), merges = ordered_json::array();
  for (const auto& [text, id] : vocabulary.added)
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) vocab[vocabulary.tokens[id]] = id;
  for (const auto& [left, right, merged] : vocabulary.merges)
    merges.push_back(vocabulary.tokens[left] + " " + vocabulary.tokens[right]);
  const ordered_json root = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added},
                             {"normalizer", vocabulary.nfc ? ordered_json{{"type", "NFC"}} : ordered_json(nullptr)},
                             {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                             {"post_processor", byte_level},
                             {"decoder", byte_level},
                             {"model",
                              {{"type", "BPE"},
                               {"dropout", nullptr},
                               {"unk_token", nullptr},
                               {"continuing_subword_prefix", nullptr},
                               {"end_of_word_suffix", nullptr},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"ignore_merges", false},
                               {"vocab", vocab},
                               {"merges", merges}}}};
  write_text(file, root.dump(1) + "\n");
}

}  // namespace vlm2vec
