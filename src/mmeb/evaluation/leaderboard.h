// The file that MMEB's leaderboard takes, from the scores of an evaluation: what report_score_v2.py of the official
// repository writes.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vlm2vec {

// What the leaderboard shows of a model; 0 and "" stand for "not said" (null in the file).
struct LeaderboardEntry {
  std::string model_name, model_backbone, model_size;
  int64_t embedding_dimension = 0, max_length_tokens = 0;
  std::string model_release_date, data_source = "Self-Reported", url;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("model_name", model_name, "<NAME> the name on the leaderboard");
    visit("model_backbone", model_backbone, "<NAME> e.g. Qwen2-VL");
    visit("model_size", model_size, "e.g. \"2B parameters\"");
    visit("embedding_dimension", embedding_dimension, "numbers of a vector (0: not said)");
    visit("max_length_tokens", max_length_tokens, "longest input (0: not said)");
    visit("model_release_date", model_release_date, "<DATE> e.g. 2025-05-15");
    visit("data_source", data_source, "<NAME> who measured");
    visit("url", url, "<URL> paper, code or weights");
  }
};

// {"metadata", "metrics": {"image": {set: scores}, "video": …, "visdoc": …}}. Scores are those of {set}_score.json in
// `folder` or in folder/image, folder/video, folder/visdoc, V2's keys only. A set without its file is "FILE_N/A", all
// sets of a group without its folder "DIR_N/A". Errors (Exit::data): no set of MMEB has scores, or scores without
// V2's metrics.
nlohmann::ordered_json leaderboard_json(const std::filesystem::path& folder, LeaderboardEntry entry);

}  // namespace vlm2vec
