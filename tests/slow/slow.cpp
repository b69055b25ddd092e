// The demonstration as an experiment: three training seeds against the thresholds of its recipe, and the controls that
// must not learn anything. Prints one table, measured value against limit; exits with 1 if a limit is missed.
// Usage: slow FOLDER [STEPS]; the limits are those of 2000 steps, about five minutes on two cores for each of four
// runs.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "mmeb/evaluator.h"
#include "mmeb/selftest.h"
#include "nn/state.h"
#include "tensor/io/files.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
constexpr int kSeeds = 3;

void run(const Arguments& words) {
  if (run_command(words) != Exit::ok) fail(Exit::failed, words[0], " failed");
}

void init(const fs::path& folder, int seed, const fs::path& model) {
  run({"init", "--config", SOURCE_DIR "/examples/mini-qwen2-vl.json", "--train_tokenizer", folder / "data/MMEB-train",
       "--min_pixels", "1024", "--max_pixels", "9216", "--seed", std::to_string(seed), "--output_dir", model});
}

// The recipe of `make demo`, threads as given.
void train(const fs::path& model, const fs::path& data, const fs::path& output, int seed, const std::string& steps,
           const Arguments& more = {}) {
  Arguments words = {"train",
                     "--model_name",
                     model,
                     "--dataset_name",
                     data,
                     "--output_dir",
                     output,
                     "--max_steps",
                     steps,
                     "--temperature",
                     "0.05",
                     "--learning_rate",
                     "3e-3",
                     "--warmup_ratio",
                     "0.05",
                     "--weight_decay",
                     "0.01",
                     "--adam_beta2",
                     "0.98",
                     "--seed",
                     std::to_string(seed)};
  words.insert(words.end(), more.begin(), more.end());
  run(words);
}

Summary scores(const fs::path& folder, const fs::path& model, const fs::path& output) {
  run({"eval", "--model_name", model, "--dataset_name", folder / "data/MMEB-eval", "--encode_output_path", output,
       "--quiet"});
  return read_summary(output, read_tasks(folder / "data/MMEB-eval"));
}

// The training rows with the positives of each set dealt out anew.
void permute_targets(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const TrainSet& set : read_train_folder(from, {}, 0)) {
    std::vector<size_t> order(set.rows.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    Random(1).shuffle(order);
    std::string lines;
    for (size_t i = 0; i < order.size(); ++i) {
      const Side &query = set.rows[i].query, &positive = set.rows[order[i]].positive;
      lines += nlohmann::json{{"qry", query.text},
                              {"qry_image_path", query.image},
                              {"pos_text", positive.text},
                              {"pos_image_path", positive.image}}
                   .dump() +
               "\n";
    }
    fs::create_directories(to / set.name);
    write_text(to / set.name / "original.jsonl", lines);
  }
}

// How far random unit vectors score from the mean chance, in standard errors over rows.
double random_embeddings(const fs::path& folder) {
  const fs::path data = folder / "data/MMEB-eval";
  uint64_t stream = 0;
  const EmbedFunction random = [&](const std::vector<EncoderInput>& inputs, const std::string&) {
    return normal_tensor({int64_t(inputs.size()), 128}, 1, ++stream, DType::f32, Device::cpu);
  };
  const Summary summary = evaluate({data, data, {}, "<|image_pad|>"}, random, "");
  const std::vector<Task> tasks = read_tasks(data);
  double variance = 0;
  int sets = 0;
  for (const Task& task : tasks)
    for (const SetScore& set : summary.sets)
      if (set.name == task.name && !task.optional)
        variance += set.chance * (100 - set.chance) / double(set.rows), ++sets;
  return std::abs(summary.overall - chance_summary(summary, tasks).overall) / (std::sqrt(variance) / sets);
}

// Pairs of texts and pictures, by content, that are in a training and in a test set.
double common_pairs(const fs::path& folder) {
  const auto side = [](const Side& s, const fs::path& images) {
    return s.text + '\0' + (s.image.empty() ? "" : read_text(images / s.image)) + '\0';
  };
  std::set<size_t> trained;
  const fs::path train = folder / "data/MMEB-train", test = folder / "data/MMEB-eval";
  for (const TrainSet& set : read_train_folder(train, {}, 0))
    for (const TrainRow& row : set.rows)
      trained.insert(std::hash<std::string>()(side(row.query, train) + side(row.positive, train)));
  double common = 0;
  for (const std::string& set : list_subsets(test, "test.jsonl", {}))
    for (const EvalRow& row : read_eval_rows(test / set / "test.jsonl"))
      common += trained.contains(std::hash<std::string>()(side(row.query, test) + side(row.candidates[0], test)));
  return common;
}

// Scores must reach a limit; a Check must stay below one: so the table shows what is missing to 100.
std::vector<Check> threshold_checks(const std::vector<Summary>& runs) {
  struct Threshold {
    const char* name;
    double Summary::*score;
    double at_least;
  };
  const Threshold thresholds[] = {{"Overall", &Summary::overall, 84},
                                  {"IND", &Summary::ind, 96},
                                  {"OOD", &Summary::ood, 64},
                                  {"classification", &Summary::classification, 57},
                                  {"VQA", &Summary::vqa, 81},
                                  {"retrieval", &Summary::retrieval, 90},
                                  {"grounding", &Summary::grounding, 93}};
  std::vector<Check> checks;
  for (const auto& [name, score, at_least] : thresholds) {
    double mean = 0;
    for (const Summary& run : runs) mean += run.*score / double(runs.size());
    checks.push_back(
        {sentence("100 - ", name, ", trained, mean of ", runs.size(), " seeds"), 100 - mean, 100 - at_least});
  }
  return checks;
}

int slow(const fs::path& folder, const std::string& steps) {
  run({"data", "mini", "--output_dir", folder / "data", "--quiet"});
  const fs::path data = folder / "data/MMEB-train";
  std::vector<Check> checks = {{"pairs in training and test", common_pairs(folder), 0},
                               {"random embeddings, standard errors from chance", random_embeddings(folder), 3}};
  std::vector<Summary> trained;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const fs::path run = folder / ("seed-" + std::to_string(seed));
    init(folder, seed, run / "init");
    if (seed == 1) checks.push_back({"Overall, untrained", scores(folder, run / "init", run / "untrained").overall, 9});
    train(run / "init", data, run / "model", seed, steps);
    trained.push_back(scores(folder, run / "model", run / "trained"));
    std::fprintf(stderr, "seed %d: Overall %.1f\n", seed, trained.back().overall);
  }
  for (const Check& check : threshold_checks(trained)) checks.push_back(check);

  permute_targets(data, folder / "permuted/data");
  train(folder / "seed-1/init", folder / "permuted/data", folder / "permuted/model", 1, steps, {"--image_dir", data});
  checks.push_back({"Overall, trained on permuted targets",
                    scores(folder, folder / "permuted/model", folder / "permuted/trained").overall, 8});

  for (const char* threads : {"1", "2"})
    train(folder / "seed-1/init", data, folder / "threads" / threads, 1, "20", {"--threads", threads, "--quiet"});
  const bool same =
      read_text(folder / "threads/1/model.safetensors") == read_text(folder / "threads/2/model.safetensors");
  checks.push_back({"weights after 20 steps, 1 against 2 threads: differ", same ? 0.0 : 1.0, 0});

  std::fputs(check_table(checks).c_str(), stdout);
  return std::all_of(checks.begin(), checks.end(), [](const Check& c) { return c.ok(); }) ? 0 : 1;
}

}  // namespace
}  // namespace vlm2vec

int main(int argc, char** argv) {
  try {
    if (argc < 2) vlm2vec::fail(vlm2vec::Exit::usage, "usage: slow FOLDER [STEPS]");
    return vlm2vec::slow(argv[1], argc > 2 ? argv[2] : "2000");
  } catch (const vlm2vec::Error& e) {
    std::fprintf(stderr, "slow: %s\n", e.what());
    return int(e.code);
  }
}
