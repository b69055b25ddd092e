// tokenizer.json: {added_tokens, normalizer, pre_tokenizer, model: {vocab: {token: id}, merges}, ...}; a merge is "a b"
// in older files and ["a", "b"] in newer ones. The two large parts never become JSON values: they are collected while
// the text is parsed.
#include "vlm/tokenizer/bpe_vocabulary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/error.h"
#include "io/files.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Event = json::parse_event_t;

// As the files list them.
struct Parts {
  struct Entry {
    std::string token;
    uint64_t id;
    bool normalized = false;
  };
  struct Pair {
    std::string left, right;
  };
  std::vector<Entry> vocab, added;
  std::vector<Pair> merges;
};

// A token as an error shows it: quoted, and on one line whatever bytes it has.
std::string shown(std::string_view token) { return json(token).dump(-1, ' ', false, json::error_handler_t::replace); }

Parts::Pair split_merge(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == line.npos) fail(Exit::data, "merge ", shown(line), " has no blank between two tokens");
  return {std::string(line.substr(0, blank)), std::string(line.substr(blank + 1))};
}

// Takes the dictionary at `vocab_path` and the list at `merges_path` out of what is parsed.
class Collector {
 public:
  using Path = std::vector<std::string>;
  Collector(Parts& parts, Path vocab_path, Path merges_path)
      : parts_(parts), vocab_path_(std::move(vocab_path)), merges_path_(std::move(merges_path)) {}

  // Returns whether `value` is to be kept. Depth: how many objects and lists are around it.
  bool operator()(int depth, Event event, json& value) {
    if (inside_ == &vocab_path_ && !(event == Event::object_end && depth == inside_depth_)) return vocab(event, value);
    if (inside_ == &merges_path_ && !(event == Event::array_end && depth == inside_depth_))
      return merges(depth, event, value);
    inside_ = nullptr;
    if (event == Event::key) {
      path_.resize(size_t(depth));
      path_.back() = value.get<std::string>();
    } else if (event == Event::object_start && is_at(vocab_path_, depth)) {
      inside_ = &vocab_path_, inside_depth_ = depth;
    } else if (event == Event::array_start && is_at(merges_path_, depth)) {
      inside_ = &merges_path_, inside_depth_ = depth;
    }
    return true;
  }

 private:
  bool is_at(const Path& path, int depth) const { return size_t(depth) == path.size() && path_ == path; }

  bool vocab(Event event, json& value) {
    if (event == Event::key) {
      token_ = std::move(value.get_ref<std::string&>());
      return false;  // the object stays empty
    }
    if (event != Event::value || !value.is_number_unsigned())
      fail(Exit::data, "token ", shown(token_), " has id ", event == Event::value ? value.dump() : "{…} or […]",
           ", expected a whole number");
    parts_.vocab.push_back({std::move(token_), value.get<uint64_t>()});
    return true;
  }

  bool merges(int depth, Event event, json& value) {
    const bool in_pair = depth == inside_depth_ + 2;
    if (event == Event::array_start && !in_pair) {
      pair_.clear();
      return true;
    }
    if (event == Event::array_end && pair_.size() == 2) {
      parts_.merges.push_back({std::move(pair_[0]), std::move(pair_[1])});
      return false;
    }
    if (event != Event::value || !value.is_string() || (in_pair && pair_.size() == 2))
      fail(Exit::data, "merge ", parts_.merges.size(), " is neither \"a b\" nor [\"a\", \"b\"]");
    std::string& text = value.get_ref<std::string&>();
    if (in_pair) pair_.push_back(std::move(text));
    else if (!text.starts_with("#version")) parts_.merges.push_back(split_merge(text));
    return false;
  }

  Parts& parts_;
  Path path_;  // of the value that is parsed: keys from the root on, "" for a list
  const Path vocab_path_, merges_path_, *inside_ = nullptr;
  int inside_depth_ = 0;
  std::string token_;
  std::vector<std::string> pair_;
};

json parse(const std::filesystem::path& file, Collector collector) {
  const auto mapped = MappedFile::open(file);
  check_nesting({reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()}, file.string());
  try {
    return json::parse(mapped->bytes().begin(), mapped->bytes().end(), std::ref(collector));
  } catch (const json::parse_error& e) {
    fail(Exit::data, "not valid JSON near byte ", e.byte, "; is the file complete?");
  }
}

// A field that is there and not null.
bool is_set(const json& object, const char* field) { return object.contains(field) && !object[field].is_null(); }

std::string type_of(const json& part) { return part.is_null() ? "null" : part.at("type").get<std::string>(); }

template <class... Text>
[[noreturn]] void refuse(const Text&... text) {
  fail(Exit::data, text..., "; this program reads byte-level BPE as in Qwen2");
}

bool asks_for_nfc(const json& normalizer) {
  if (!normalizer.is_null() && type_of(normalizer) != "NFC") refuse("the normalizer is ", shown(type_of(normalizer)));
  return !normalizer.is_null();
}

void check_pre_tokenizer(const json& part) {
  if (type_of(part) != "Sequence") refuse("the pre_tokenizer is ", shown(type_of(part)));
  const json& steps = part.at("pretokenizers");
  if (steps.size() != 2 || type_of(steps.at(0)) != "Split" || type_of(steps.at(1)) != "ByteLevel") {
    std::string names;
    for (const json& step : steps) names += " " + shown(type_of(step));
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
  if (type_of(model) != "BPE") refuse("the model is ", shown(type_of(model)));
  if (is_set(model, "dropout") && model["dropout"] != 0) refuse("the model has dropout ", model["dropout"]);
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (is_set(model, affix) && model[affix] != "") refuse("the model has ", affix, " ", model[affix]);
  if (model.value("ignore_merges", false)) refuse("the model has ignore_merges");
}

void check_post_processor(const json& part) {
  if (!part.is_null() && type_of(part) != "ByteLevel") refuse("the post_processor is ", shown(type_of(part)));
}

Parts::Entry added_token(const json& token, const json& id) {
  const std::string text = token.at("content");
  for (const char* option : {"single_word", "lstrip", "rstrip"})
    if (token.value(option, false)) refuse("added token ", shown(text), " has ", option);
  if (!id.is_number_unsigned()) fail(Exit::data, "token ", shown(text), " has id ", id, ", expected a whole number");
  return {text, id, token.value("normalized", false)};
}

[[noreturn]] void refuse_id(const std::string& token, uint64_t id, uint64_t given) {
  fail(Exit::data, "added token ", shown(token), " has id ", id, ", but transformers gives it ", given,
       ", the next free one; was a token before it left out?");
}

// The id of a token that is added behind the others: the vocabulary's, or the next free one.
uint64_t id_behind(const Parts& parts, const std::string& token) {
  const auto found = std::ranges::find(parts.vocab, token, &Parts::Entry::token);
  if (found != parts.vocab.end()) return found->id;
  uint64_t next = parts.vocab.size();
  for (const auto& added : parts.added) next = std::max(next, added.id + 1);
  return next;
}

// tokenizer_config.json, as transformers adds it to what the other files have: its flags of a token count, tokens that
// are not there come behind the others. What its versions understand differently is refused.
void add_configured(Parts& parts, const json& config) {
  for (const char* option : {"split_special_tokens", "add_prefix_space"})
    if (is_set(config, option) && config[option] != false) refuse(option, " is ", config[option]);
  const auto known = [&](const std::string& token) {
    return std::ranges::find(parts.added, token, &Parts::Entry::token);
  };
  const bool beside = !parts.added.empty();  // tokenizer.json; else assemble() looks at the ids
  std::map<uint64_t, Parts::Entry> declared;
  if (is_set(config, "added_tokens_decoder"))
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
      Parts::Entry entry = added_token(token, json::parse(id));
      declared.emplace(entry.id, std::move(entry));
    }
  for (const auto& [id, entry] : declared) {
    if (const auto there = known(entry.token); there == parts.added.end()) {
      if (const uint64_t given = id_behind(parts, entry.token); beside && given != id)
        refuse_id(entry.token, id, given);
      parts.added.push_back(entry);
    } else if (there->id != id) {
      fail(Exit::data, "token ", shown(entry.token), " has id ", id, ", in tokenizer.json ", there->id);
    } else {
      there->normalized = entry.normalized;
    }
  }
  const auto add = [&](const json& token) {
    const std::string text = token.is_object() ? added_token(token, 0u).token : token.get<std::string>();
    if (known(text) == parts.added.end()) parts.added.push_back({text, id_behind(parts, text)});
  };
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    if (is_set(config, name)) add(config[name]);
  const size_t before = parts.added.size();
  for (const char* list : {"additional_special_tokens", "extra_special_tokens"}) {
    const size_t first = parts.added.size();
    if (!is_set(config, list)) continue;
    for (const auto& [name, token] : config[list].items()) add(token);
    if (first > before && parts.added.size() > first)
      refuse(list, " adds ", shown(parts.added[first].token), " beside additional_special_tokens, which versions of ",
             "transformers number differently");
  }
}

// Gives every token its place and the merges their ids.
BpeVocabulary assemble(Parts parts, bool nfc) {
  BpeVocabulary vocabulary;
  vocabulary.nfc = nfc;
  const uint64_t count = parts.vocab.size() + parts.added.size();
  const auto place = [&](std::string token, uint64_t id) {
    if (token.empty()) fail(Exit::data, "the token of id ", id, " is empty");
    if (id > 2 * count + 1000)  // a wrong id must not become an allocation
      fail(Exit::data, "token ", shown(token), " has id ", id, ", but there are only ", count, " tokens");
    if (id >= vocabulary.tokens.size()) vocabulary.tokens.resize(std::max(id + 1, count));
    std::string& slot = vocabulary.tokens[id];
    if (!slot.empty() && slot != token)
      fail(Exit::data, "tokens ", shown(slot), " and ", shown(token), " have id ", id);
    slot = std::move(token);
  };
  for (Parts::Entry& entry : parts.vocab) place(std::move(entry.token), entry.id);
  const Parts::Entry* misplaced = nullptr;
  uint64_t next = parts.vocab.size(), wanted = 0;
  for (Parts::Entry& entry : parts.added) {
    const bool in_vocabulary = entry.id < vocabulary.tokens.size() && !vocabulary.tokens[entry.id].empty();
    if (!misplaced && !in_vocabulary && entry.id != next) misplaced = &entry, wanted = next;
    next = std::max(next, entry.id + 1);
    place(entry.token, entry.id);
    vocabulary.added.push_back({entry.token, int32_t(entry.id), entry.normalized});
  }
  while (!vocabulary.tokens.empty() && vocabulary.tokens.back().empty()) vocabulary.tokens.pop_back();

  const TokenIndex index(vocabulary.tokens);
  if (misplaced) refuse_id(misplaced->token, misplaced->id, wanted);
  const auto id_of = [&](std::string_view token) {
    const int32_t id = index.find(vocabulary.tokens, token);
    if (id == HashIndex::none)
      fail(Exit::data, "a merge needs the token ", shown(token), ", which the vocabulary lacks");
    return id;
  };
  vocabulary.merges.reserve(parts.merges.size());
  std::string merged;
  for (const auto& [left, right] : parts.merges) {
    merged.assign(left).append(right);
    vocabulary.merges.push_back({id_of(left), id_of(right), id_of(merged)});
  }
  return vocabulary;
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

BpeVocabulary read_tokenizer_json(const std::filesystem::path& folder) {
  const auto file = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  Parts parts;
  const bool nfc = read_file(file, [&] {
    const json root = parse(file, Collector(parts, {"model", "vocab"}, {"model", "merges"}));
    const json& model = root.at("model");
    check_model(model);
    check_pre_tokenizer(root.at("pre_tokenizer"));
    check_post_processor(root.at("post_processor"));
    for (const char* part : {"vocab", "merges"}) model.at(part);  // collected above
    for (const json& token : root.at("added_tokens")) parts.added.push_back(added_token(token, token.at("id")));
    return asks_for_nfc(root.at("normalizer"));
  });
  if (std::filesystem::exists(config)) read_file(config, [&] { add_configured(parts, read_json(config)); });
  return read_file(file, [&] { return assemble(std::move(parts), nfc); });
}

// transformers' Qwen2Tokenizer: the text is always brought to NFC.
BpeVocabulary read_vocab_and_merges(const std::filesystem::path& folder) {
  Parts parts;
  const auto vocab = folder / "vocab.json", merges = folder / "merges.txt", config = folder / "tokenizer_config.json";
  for (const auto& file : {merges, config})
    if (!std::filesystem::exists(file))
      fail(Exit::data, folder.string(), ": has vocab.json but neither tokenizer.json nor ", file.filename().string(),
           "; copy one of the two from the model that it was made from");
  read_file(vocab, [&] {
    if (!parse(vocab, Collector(parts, {}, {"none"})).is_object()) fail(Exit::data, "is not a dictionary of tokens");
  });
  read_file(merges, [&] {
    const std::string text = read_text(merges);
    std::string_view rest = text;
    for (bool first = true; !rest.empty(); first = false) {
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
      if (!line.empty() && !(first && line.starts_with("#version"))) parts.merges.push_back(split_merge(line));
    }
  });
  read_file(config, [&] {
    const json root = read_json(config);
    const std::string kind = root.at("tokenizer_class");
    if (kind != "Qwen2Tokenizer" && kind != "Qwen2TokenizerFast") refuse("tokenizer_class is ", shown(kind));
    root.at("added_tokens_decoder");
    add_configured(parts, root);
  });
  return read_file(merges, [&] { return assemble(std::move(parts), true); });
}

}  // namespace

TokenIndex::TokenIndex(const std::vector<std::string>& tokens) : index_(tokens.size()) {
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) continue;
    const int32_t other = find(tokens, tokens[id]);
    if (other != HashIndex::none) fail(Exit::data, "token ", shown(tokens[id]), " has two ids, ", other, " and ", id);
    index_.insert(std::hash<std::string_view>()(tokens[id]), int32_t(id), [](int32_t) { return false; });
  }
}

int32_t TokenIndex::find(const std::vector<std::string>& tokens, std::string_view text) const {
  return index_.find(std::hash<std::string_view>()(text), [&](int32_t id) { return tokens[size_t(id)] == text; });
}

BpeVocabulary read_vocabulary(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "tokenizer.json")) return read_tokenizer_json(folder);
  if (std::filesystem::exists(folder / "vocab.json")) return read_vocab_and_merges(folder);
  fail(Exit::data, folder.string(),
       ": has neither tokenizer.json nor vocab.json, merges.txt and tokenizer_config.json");
}

void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary) {
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const ordered_json split = {
      {"type", "Split"}, {"pattern", {{"Regex", qwen2_split_pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  ordered_json added = ordered_json::array(), vocab = ordered_json::object(), merges = ordered_json::array();
  for (const auto& [text, id, normalized] : vocabulary.added)
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", normalized},
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
