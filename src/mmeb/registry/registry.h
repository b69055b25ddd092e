// What is known of MMEB without its data: the 36 test sets with their texts, the sets of the leaderboard's file, and
// published results. All of it is read from registry/*.json, which CMake compiles in.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vlm2vec {

extern const char* const kMmebJson;
extern const char* const kPublishedJson;

// A test set. Texts are as stored, byte for byte, with {…} where a row's own words stand.
struct RegisteredSet {
  std::string name, train_name;                     // in MMEB-eval and, where that has it, in MMEB-train
  std::string meta_task, split;                     // as in Task
  std::string query_type, target_type;              // "I", "T", "I+T"
  int64_t candidates = 0, released_candidates = 0;  // of a query: in the paper and in the released data
  std::string query, train_query, target;
};
const std::vector<RegisteredSet>& registered_sets();       // in the paper's order
const RegisteredSet* registered(const std::string& name);  // by its name; null: MMEB has no such set

// A stored text without the words that the set's template puts around the row's own: the caption of a picture. Text
// that does not fit the template is returned whole.
std::string own_words(const std::string& text, const std::string& form);

// A published result on MMEB: averages in percent under the names of summary.json, as they are printed.
struct PublishedResult {
  std::string model, source, note;
  std::map<std::string, double> averages;
  std::map<std::string, double> datasets;  // of all 36 sets, or empty
};
const std::vector<PublishedResult>& published_results();

// An ablation of the paper: what was varied ("candidates", "lora_rank", …), its value, all else, and the averages.
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
