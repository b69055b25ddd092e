// Facts about MMEB that need no data: the 36 test sets with their texts, the sets of the leaderboard's file, and
// published results. They come from registry/*.json, which CMake compiles in.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vlm2vec {

extern const char* const kMmebJson;
extern const char* const kPublishedJson;

// A test set. Texts are stored byte for byte, with {…} in place of a row's own words.
struct RegisteredSet {
  std::string name, train_name;                     // in MMEB-eval and, if present, in MMEB-train
  std::string meta_task, split;                     // as in Task
  std::string query_type, target_type;              // "I", "T", "I+T"
  int64_t candidates = 0, released_candidates = 0;  // per query: in the paper and in the released data
  std::string query, train_query, target;
};
const std::vector<RegisteredSet>& registered_sets();       // in the paper's order
const RegisteredSet* registered(const std::string& name);  // of either name; null if MMEB has no such set

// Returns a row's own words, such as a caption, from a stored text, without the words of the set's template. Returns
// the whole text if it does not fit the template.
std::string own_words(const std::string& text, const std::string& form);

// A published result on MMEB: averages in percent, as printed, under the names of summary.json.
struct PublishedResult {
  std::string model, source, note;
  std::map<std::string, double> averages;
  std::map<std::string, double> datasets;  // scores of all 36 sets, or empty
};
const std::vector<PublishedResult>& published_results();

// An ablation of the paper: the varied quantity ("candidates", "lora_rank", …), its value, the setting, the averages.
struct Ablation {
  std::string subject, value, setting, source, note;
  std::map<std::string, double> averages;
};
const std::vector<Ablation>& published_ablations();

// Zero-shot recall at 1, 5 and 10 on Flickr30K's test set, percent: 1000 pictures with 5 captions each.
struct PublishedRecall {
  std::string model, source;
  std::vector<double> i2t, t2i;
};
std::vector<PublishedRecall> published_flickr30k();

// The sets of the leaderboard's file by group, in its order: "image" (the 36), "video", "visdoc".
std::vector<std::pair<std::string, std::vector<std::string>>> leaderboard_sets();

}  // namespace vlm2vec
