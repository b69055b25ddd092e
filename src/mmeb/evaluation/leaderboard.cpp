#include "mmeb/evaluation/leaderboard.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "io/files.h"
#include "io/text.h"
#include "mmeb/evaluation/metrics.h"
#include "mmeb/evaluation/summary.h"
#include "mmeb/registry/registry.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Formats the time like Python's datetime.now().isoformat(): 2025-05-15T13:02:59.123456
std::string now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(since).count();
  const auto micro = std::chrono::duration_cast<std::chrono::microseconds>(since).count() % 1000000;
  char day[32];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", std::localtime(&seconds));
  return day + formatted(".%06d", int(micro));
}

// Returns V2's metrics and counts of a score file, without V1's and this program's keys.
Json official_scores(const fs::path& file) {
  const nlohmann::json score = read_json(file);
  Json kept;
  for (const auto& [key, unused] : ranking_metrics(RankedNames{})) {
    if (!score.contains(key) || !score[key].is_number())
      fail(Exit::data, file.string(), ": has no ", key,
           "; it is not a score file of an MMEB set; evaluate the set again");
    kept[key] = score[key];
  }
  for (const char* key : {"num_pred", "num_data"})
    if (score.contains(key)) kept[key] = score[key];
  return kept;
}

// Throws unless all rows of the set were ranked among their own candidates.
void require_whole_set(const Summary& summary, const std::string& name, const fs::path& file) {
  const auto set = std::ranges::find(summary.sets, name, &SetScore::name);
  if (set == summary.sets.end())
    fail(Exit::data, file.string(), ": belongs to another evaluation than summary.json, which does not name ", name,
         "; evaluate all sets together (--embedding_cache keeps finished vectors)");
  if (set->global)
    fail(Exit::data, file.string(), ": was evaluated with eval_type global; the leaderboard takes MMEB's own lists");
  if (set->limit > 0)
    fail(Exit::data, file.string(), ": covers only the first ", set->rows,
         " rows (num_sample_per_subset); the leaderboard takes whole sets, evaluate again without the limit");
  if (set->skipped + set->skipped_candidates > 0)
    fail(Exit::data, file.string(), ": ", set->skipped, " rows and ", set->skipped_candidates,
         " candidates were left out (--bad_rows skip); the leaderboard takes whole sets, mend the data (", name,
         "_skipped_rows.jsonl lists the faults) and evaluate again");
}

// Returns "scores of Shapes, Colours", or "no scores".
std::string other_sets(const fs::path& folder) {
  constexpr std::string_view kEnd = "_score.json";
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (const std::string file = entry.path().filename().string(); file.ends_with(kEnd))
      names.insert(file.substr(0, file.size() - kEnd.size()));
  return names.empty() ? "no scores" : "scores of " + joined(names);
}

}  // namespace

Json leaderboard_json(const fs::path& folder, LeaderboardEntry entry) {
  if (!fs::is_directory(folder)) fail(Exit::data, folder.string(), ": no such folder");
  Json metadata, metrics;
  entry.fields([&](const char* name, const auto& value, const char*) {
    if (value == std::decay_t<decltype(value)>{}) metadata[name] = nullptr;
    else metadata[name] = value;
  });
  metadata["report_generated_date"] = now();
  size_t found = 0;
  for (const auto& [group, names] : leaderboard_sets()) {
    fs::path from = folder / group;
    if (group == "image" && !fs::is_directory(from)) from = folder;
    std::optional<Summary> summary;
    if (fs::exists(from / "summary.json")) summary = read_summary(from);
    if (summary && num_candidates(*summary) != 0)
      fail(Exit::data, from.string(), ": was evaluated with --num_candidates; the leaderboard takes MMEB's own lists");
    for (const std::string& name : names) {
      const std::string set = name.substr(0, name.rfind("-fixed"));
      const fs::path file = from / (set + "_score.json");
      if (fs::exists(file) && summary) require_whole_set(*summary, set, file);
      if (fs::exists(file) && !summary && read_json(file).contains("num_ties"))  // written by this program
        fail(Exit::data, from.string(),
             ": has scores but no summary.json; the evaluation is not finished, run it again");
      if (fs::exists(file)) metrics[group][name] = official_scores(file), ++found;
      else metrics[group][name] = fs::is_directory(from) ? "FILE_N/A" : "DIR_N/A";
    }
  }
  if (found == 0)
    fail(Exit::data, folder.string(), ": has ", other_sets(folder), "; only MMEB's 36 sets count; eval writes their ",
         "{set}_score.json");
  return {{"metadata", metadata}, {"metrics", metrics}};
}

}  // namespace vlm2vec
