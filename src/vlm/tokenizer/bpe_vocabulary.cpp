#include "vlm/tokenizer/bpe_vocabulary.h"

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {

using nlohmann::ordered_json;

ordered_json qwen2_pipeline() {
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const ordered_json split = {
      {"type", "Split"}, {"pattern", {{"Regex", qwen2_split_pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
          {"post_processor", byte_level}};
}

void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary) {
  ordered_json added = ordered_json::array(), vocab = ordered_json::object(), merges = ordered_json::array();
  for (const AddedToken& token : vocabulary.added)
    added.push_back({{"id", token.id}, {"content", token.text}, {"single_word", false}, {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip}, {"normalized", token.normalized}, {"special", true}});
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) vocab[vocabulary.tokens[id]] = id;
  for (const auto& [left, right, merged] : vocabulary.merges)
    merges.push_back(vocabulary.tokens[left] + " " + vocabulary.tokens[right]);
  ordered_json root = ordered_json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
      "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
      "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false}})");
  root["added_tokens"] = added;
  root.update(qwen2_pipeline());
  root["decoder"] = root["post_processor"];
  root["model"]["vocab"] = vocab, root["model"]["merges"] = merges;
  write_text(file, root.dump(1) + "\n");
}

}  // namespace vlm2vec
