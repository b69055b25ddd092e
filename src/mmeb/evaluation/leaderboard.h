// Makes the file for MMEB's leaderboard from the scores of an evaluation, like the official report_score_v2.py.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vlm2vec {

// The leaderboard's fields about a model; 0 and "" mean "not given" (null in the file).
struct LeaderboardEntry {
  std::string model_name, model_backbone, model_size;
  int64_t embedding_dimension = 0, max_length_tokens = 0;
  std::string model_release_date, data_source = "Self-Reported", url;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("model_name", model_name, "<NAME> the name on the leaderboard");
    visit("model_backbone", model_backbone, "<NAME> e.g. Qwen2-VL");
    visit("model_size", model_size, "e.g. \"2B parameters\"");
    visit("embedding_dimension", embedding_dimension, "length of the vectors (0: not given)");
    visit("max_length_tokens", max_length_tokens, "longest input in tokens (0: not given)");
    visit("model_release_date", model_release_date, "<DATE> e.g. 2025-05-15");
    visit("data_source", data_source, "<NAME> who measured the scores");
    visit("url", url, "<URL> address of the paper, code or weights");
  }
};

// Returns {"metadata", "metrics": {"image": {set: scores}, "video": …, "visdoc": …}}. Scores are V2's keys of
// {set}_score.json in `folder` or in folder/image, folder/video, folder/visdoc. A set without a file is "FILE_N/A"; all
// sets of a group without a folder are "DIR_N/A". Throws Exit::data if no set of MMEB has scores or if scores lack V2's
// metrics.
nlohmann::ordered_json leaderboard_json(const std::filesystem::path& folder, LeaderboardEntry entry);

}  // namespace vlm2vec
