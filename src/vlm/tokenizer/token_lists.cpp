#include "vlm/tokenizer/token_lists.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Event = json::parse_event_t;

TokenLists::Pair split_merge(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == line.npos) fail(Exit::data, "merge ", shown(line), " has no blank between two tokens");
  return {std::string(line.substr(0, blank)), std::string(line.substr(blank + 1))};
}

// Takes the dictionary at `vocab_path` and the list at `merges_path` out of the parsed text.
class Collector {
 public:
  using Path = std::vector<std::string>;
  Collector(TokenLists& lists, Path vocab_path, Path merges_path)
      : lists_(lists), vocab_path_(std::move(vocab_path)), merges_path_(std::move(merges_path)) {}

  // Returns whether `value` is to be kept. Depth: how many objects and lists are around it.
  bool operator()(int depth, Event event, json& value) {
    const bool ends = (event == Event::object_end || event == Event::array_end) && depth == inside_depth_;
    if (inside_ == &vocab_path_ && !ends) return scored_ ? scores(depth, event, value) : vocab(event, value);
    if (inside_ == &merges_path_ && !ends) return merges(depth, event, value);
    inside_ = nullptr;
    if (event == Event::key) {
      path_.resize(size_t(depth));
      path_.back() = value.get<std::string>();
    } else if ((event == Event::object_start || (event == Event::array_start && depth > 0)) &&
               is_at(vocab_path_, depth)) {
      inside_ = &vocab_path_, inside_depth_ = depth, scored_ = event == Event::array_start;
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
    lists_.vocab.push_back({std::move(token_), value.get<uint64_t>()});
    return true;
  }

  bool scores(int depth, Event event, json& value) {
    const bool in_pair = depth == inside_depth_ + 2, has_token = !pair_.empty(), has_score = has_token && score_;
    if (event == Event::array_start && !in_pair) {
      pair_.clear();
      score_.reset();
      return true;
    }
    if (event == Event::array_end && has_score) {
      lists_.vocab.push_back({std::move(pair_[0]), lists_.vocab.size()});
      lists_.scores.push_back(*score_);
      return false;
    }
    if (event != Event::value || !in_pair || has_score || !(has_token ? value.is_number() : value.is_string()))
      fail(Exit::data, "token ", lists_.vocab.size(), " of the vocabulary is not [\"token\", score]");
    if (has_token) score_ = value.get<double>();
    else pair_.push_back(std::move(value.get_ref<std::string&>()));
    return false;
  }

  bool merges(int depth, Event event, json& value) {
    const bool in_pair = depth == inside_depth_ + 2;
    if (event == Event::array_start && !in_pair) {
      pair_.clear();
      return true;
    }
    if (event == Event::array_end && pair_.size() == 2) {
      lists_.merges.push_back({std::move(pair_[0]), std::move(pair_[1])});
      return false;
    }
    if (event != Event::value || !value.is_string() || (in_pair && pair_.size() == 2))
      fail(Exit::data, "merge ", lists_.merges.size(), " is neither \"a b\" nor [\"a\", \"b\"]");
    std::string& text = value.get_ref<std::string&>();
    if (in_pair) pair_.push_back(std::move(text));
    else if (!text.starts_with("#version")) lists_.merges.push_back(split_merge(text));
    return false;
  }

  TokenLists& lists_;
  Path path_;  // of the parsed value: keys from the root on, "" for a list
  const Path vocab_path_, merges_path_, *inside_ = nullptr;
  int inside_depth_ = 0;
  bool scored_ = false;  // the vocabulary is a list of tokens and scores
  std::optional<double> score_;
  std::string token_;
  std::vector<std::string> pair_;
};

json parse(const std::filesystem::path& file, Collector collector) {
  const auto mapped = MappedFile::open(file);
  check_nesting(as_text(mapped->bytes()), file.string());
  try {
    return json::parse(mapped->bytes().begin(), mapped->bytes().end(), std::ref(collector));
  } catch (const json::parse_error& e) {
    fail(Exit::data, "not valid JSON near byte ", e.byte, "; is the file complete?");
  }
}

TokenLists::Entry added_token(const json& token, const json& id) {
  const std::string text = token.at("content");
  if (token.value("single_word", false)) refuse("added token ", shown(text), " has single_word");
  if (!id.is_number_unsigned()) fail(Exit::data, "token ", shown(text), " has id ", id, ", expected a whole number");
  const auto flag = [&](const char* name) { return token.value(name, false); };
  return {text, id, flag("normalized"), flag("lstrip"), flag("rstrip")};
}

template <class Take>
void for_lines(std::string_view text, Take&& take) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    take(line);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
}

[[noreturn]] void refuse_id(const std::string& token, uint64_t id, uint64_t given) {
  fail(Exit::data, "added token ", shown(token), " has id ", id, ", but transformers gives it ", given,
       ", the next free one; was a token before it left out?");
}

// Returns the id of a token that is added last: the vocabulary's, or the next free one.
uint64_t id_behind(const TokenLists& lists, const std::string& token) {
  const auto found = std::ranges::find(lists.vocab, token, &TokenLists::Entry::token);
  if (found != lists.vocab.end()) return found->id;
  uint64_t next = lists.vocab.size();
  for (const auto& added : lists.added) next = std::max(next, added.id + 1);
  return next;
}

}  // namespace

std::string tokenizer_class(const json& config) {
  std::string name = has_value(config, "tokenizer_class") ? config["tokenizer_class"].get<std::string>() : "";
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

json TokenLists::take_tokenizer_json(const std::filesystem::path& file) {
  return parse(file, Collector(*this, {"model", "vocab"}, {"model", "merges"}));
}

json TokenLists::take_vocab_json(const std::filesystem::path& file) {
  return parse(file, Collector(*this, {}, {"none"}));
}

void TokenLists::take_merges_txt(const std::filesystem::path& file) {
  for_lines(read_text(file), [&, first = true](std::string_view line) mutable {
    line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    if (!line.empty() && !(first && line.starts_with("#version"))) merges.push_back(split_merge(line));
    first = false;
  });
}

void TokenLists::take_vocab_txt(const std::filesystem::path& file) {
  for_lines(read_text(file), [&](std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    vocab.push_back({std::string(line), vocab.size()});
  });
}

void TokenLists::take_added(const json& token) { added.push_back(added_token(token, token.at("id"))); }

void TokenLists::take_configured(const json& config) {
  const bool is_llama = tokenizer_class(config) == "LlamaTokenizer";  // see apply_class()
  for (const char* option : {"split_special_tokens", "add_prefix_space"})
    if (has_value(config, option) && config[option] != false && !(is_llama && option[0] == 'a'))
      refuse(option, " is ", config[option]);
  const auto known = [&](const std::string& token) { return std::ranges::find(added, token, &Entry::token); };
  const bool beside = !added.empty();  // beside tokenizer.json; else vocabulary() checks the ids
  std::map<uint64_t, Entry> declared;
  if (has_value(config, "added_tokens_decoder"))
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
      Entry entry = added_token(token, json::parse(id));
      declared.emplace(entry.id, std::move(entry));
    }
  for (const auto& [id, entry] : declared) {
    if (const auto there = known(entry.token); there == added.end()) {
      if (const uint64_t given = id_behind(*this, entry.token); beside && given != id)
        refuse_id(entry.token, id, given);
      added.push_back(entry);
    } else if (there->id != id) {
      fail(Exit::data, "token ", shown(entry.token), " has id ", id, ", in tokenizer.json ", there->id);
    } else {
      *there = entry;
    }
  }
  const auto add = [&](const json& token) {
    Entry entry = token.is_object() ? added_token(token, 0u) : Entry{token, 0};
    if (known(entry.token) != added.end()) return;
    entry.id = id_behind(*this, entry.token);
    added.push_back(std::move(entry));
  };
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    if (has_value(config, name)) add(config[name]);
  const size_t before = added.size();
  for (const char* list : {"additional_special_tokens", "extra_special_tokens"}) {
    const size_t first = added.size();
    if (!has_value(config, list)) continue;
    for (const auto& [name, token] : config[list].items()) add(token);
    if (first > before && added.size() > first)
      refuse(list, " adds ", shown(added[first].token), " beside additional_special_tokens, which versions of ",
             "transformers number differently");
  }
}

Vocabulary TokenLists::vocabulary() {
  std::vector<std::string> tokens;
  const uint64_t count = vocab.size() + added.size();
  const auto place = [&](std::string token, uint64_t id) {
    if (token.empty()) fail(Exit::data, "the token of id ", id, " is empty");
    if (id > 2 * count + 1000)  // a wrong id must not become an allocation
      fail(Exit::data, "token ", shown(token), " has id ", id, ", but there are only ", count, " tokens");
    if (id >= tokens.size()) tokens.resize(std::max(id + 1, count));
    std::string& slot = tokens[id];
    if (!slot.empty() && slot != token)
      fail(Exit::data, "tokens ", shown(slot), " and ", shown(token), " have id ", id);
    slot = std::move(token);
  };
  for (Entry& entry : vocab) place(std::move(entry.token), entry.id);
  const Entry* misplaced = nullptr;
  uint64_t next = vocab.size(), wanted = 0;
  for (const Entry& entry : added) {
    const bool in_vocabulary = entry.id < tokens.size() && !tokens[entry.id].empty();
    if (!misplaced && !in_vocabulary && entry.id != next) misplaced = &entry, wanted = next;
    next = std::max(next, entry.id + 1);
    place(entry.token, entry.id);
  }
  while (!tokens.empty() && tokens.back().empty()) tokens.pop_back();
  Vocabulary vocabulary(std::move(tokens));
  if (misplaced) refuse_id(misplaced->token, misplaced->id, wanted);
  return vocabulary;
}

std::vector<AddedToken> TokenLists::added_tokens() const {
  std::vector<AddedToken> tokens;
  for (const Entry& entry : added)
    tokens.push_back({entry.token, int32_t(entry.id), entry.normalized, entry.lstrip, entry.rstrip});
  return tokens;
}

std::vector<BpeVocabulary::Merge> TokenLists::ids_of_merges(const Vocabulary& vocabulary) const {
  const auto id_of = [&](std::string_view token) {
    const std::optional<int32_t> id = vocabulary.id_of(token);
    if (!id) fail(Exit::data, "a merge needs the token ", shown(token), ", which the vocabulary lacks");
    return *id;
  };
  std::vector<BpeVocabulary::Merge> ids;
  ids.reserve(merges.size());
  std::string merged;
  for (const auto& [left, right] : merges) {
    merged.assign(left).append(right);
    ids.push_back({id_of(left), id_of(right), id_of(merged)});
  }
  return ids;
}

}  // namespace vlm2vec
