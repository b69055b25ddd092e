// The checks that take minutes: the demonstration with three seeds, its controls, and what must not change a single
// bit. Prints one table, value against limit, and exits with 1 if one is missed. Usage: slow FOLDER TRAIN_OPTIONS, the
// options being the recipe of `make demo`.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "io/files.h"
#include "kills.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/training/grad_cache.h"
#include "nn/adapters.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tensor/parallel.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kSteps = 2000;

struct Row {
  std::string name;
  double value;
  const char* relation;
  double limit;
};  // relation "": for information
std::vector<Row> table;

void at_least(const std::string& name, double value, double limit) { table.push_back({name, value, ">=", limit}); }
void at_most(const std::string& name, double value, double limit) { table.push_back({name, value, "<=", limit}); }
bool met(const Row& r) { return !*r.relation || (*r.relation == '>' ? r.value >= r.limit : r.value <= r.limit); }

// The commands of the demonstration, run in a folder.
class Demonstration {
 public:
  Demonstration(fs::path folder, Arguments recipe) : folder_(std::move(folder)), recipe_(std::move(recipe)) {
    fs::create_directories(folder_);
    run({"data", "mini", "--output_dir", path("data"), "--quiet"});
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path train_data() const { return folder_ / "data/MMEB-train"; }
  fs::path test_data() const { return folder_ / "data/MMEB-eval"; }

  void init(const std::string& model, int seed, const std::string& config = "mini-qwen2-vl.json") const {
    run({"init", "--config", SOURCE_DIR "/examples/" + config, "--train_tokenizer", train_data(),
         "--min_pixels", "1024", "--max_pixels", "9216", "--seed", std::to_string(seed), "--output_dir", path(model),
         "--quiet"});
  }
  void train(const std::string& from, const std::string& to, int seed, int steps, const fs::path& data,
             const Arguments& more = {}) const {
    Arguments words = {"train",
                       "--model_name",
                       path(from),
                       "--dataset_name",
                       data,
                       "--output_dir",
                       path(to),
                       "--max_steps",
                       std::to_string(steps),
                       "--seed",
                       std::to_string(seed),
                       "--image_dir",
                       train_data(),
                       "--overwrite_output_dir",
                       "True"};
    words.insert(words.end(), recipe_.begin(), recipe_.end());
    words.insert(words.end(), more.begin(), more.end());
    run(words);
  }
  Summary eval(const std::string& model) const {
    run({"eval", "--model_name", path(model), "--dataset_name", test_data(), "--encode_output_path",
         path(model + "-scores"), "--quiet"});
    return read_summary(folder_ / (model + "-scores"));
  }

 private:
  static void run(const Arguments& words) {
    if (run_command(words) != Exit::ok) fail(Exit::failed, "slow: ", words[0], " failed");
  }
  fs::path folder_;
  Arguments recipe_;  // options of every training
};

struct Group {
  const char* name;
  double Summary::*score;
  double limit;
};
constexpr Group kGroups[] = {{"overall", &Summary::overall, 84},
                             {"IND", &Summary::ind, 96},
                             {"OOD", &Summary::ood, 64},
                             {"classification", &Summary::classification, 57},
                             {"VQA", &Summary::vqa, 81},
                             {"retrieval", &Summary::retrieval, 90},
                             {"grounding", &Summary::grounding, 93}};

void three_seeds(const Demonstration& demo) {
  std::vector<Summary> runs;
  double untrained = 0;
  for (const int seed : {42, 1, 2}) {
    const std::string name = "seed" + std::to_string(seed);
    demo.init(name + "-init", seed);
    untrained = std::max(untrained, demo.eval(name + "-init").overall);
    demo.train(name + "-init", name, seed, kSteps, demo.train_data());
    runs.push_back(demo.eval(name));
    table.push_back({"overall, seed " + std::to_string(seed), runs.back().overall, "", 0});
  }
  at_most("overall, untrained, worst of 3 seeds", untrained, 9);
  for (const Group& group : kGroups) {
    double mean = 0;
    for (const Summary& run : runs) mean += run.*group.score / double(runs.size());
    at_least(sentence(group.name, ", mean of 3 seeds"), mean, group.limit);
  }
}

// Half of the steps: docs/models.md has the scores of each family.
void another_family(const Demonstration& demo) {
  demo.init("qwen3-init", 42, "mini-qwen3-vl.json");
  demo.train("qwen3-init", "qwen3", 42, kSteps / 2, demo.train_data());
  at_least("IND of Qwen3-VL, 1,000 steps", demo.eval("qwen3").ind, 60);
}

// Embeddings that know nothing score what chance does.
void random_embeddings(const Demonstration& demo) {
  Random random(7);
  const auto embed = [&](const std::vector<EncoderInput>& inputs, const std::string&) {
    std::vector<float> values;
    for (size_t i = 0; i < 64 * inputs.size(); ++i) values.push_back(float(random.normal()));
    return from_vector(values, {int64_t(inputs.size()), 64});
  };
  const Summary s =
      evaluate({eval_folder(demo.test_data()), read_tasks(demo.test_data()), "<|image_pad|>"}, embed, "").summary;
  const Summary chance = chance_summary(s);
  double variance = 0;  // of the mean over sets of independent rows, each right with probability `chance`
  int sets = 0;
  for (const Task& task : read_tasks(demo.test_data()))
    for (const SetScore& set : s.sets)
      if (set.name == task.name && !task.optional)
        ++sets, variance += set.chance * (100 - set.chance) / double(set.rows);
  at_most("random embeddings: |overall - chance| in standard errors",
          std::abs(s.overall - chance.overall) / (std::sqrt(variance) / sets), 3);
}

// Within each set every query gets another query's target: nothing can be learned that holds in the test.
void permuted_targets(const Demonstration& demo) {
  const fs::path permuted = demo.path("permuted");
  for (const std::string& name : list_subsets(demo.train_data(), "original.jsonl", {})) {
    const PackedRows rows = read_train_rows(demo.train_data() / name / "original.jsonl");
    std::vector<size_t> order(rows.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    Random(11).shuffle(order);
    std::string text;
    for (size_t i = 0; i < rows.size(); ++i) {
      const Side query = rows[i].query, target = rows[order[i]].positives[0];
      text += json{{"qry", query.text},
                   {"qry_image_path", query.image()},
                   {"pos_text", target.text},
                   {"pos_image_path", target.image()}}
                  .dump() +
              "\n";
    }
    fs::create_directories(permuted / name);
    write_text(permuted / name / "original.jsonl", text);
  }
  demo.train("seed42-init", "permuted-model", 42, kSteps, permuted);
  at_most("overall after training on permuted targets", demo.eval("permuted-model").overall, 8);
}

// Content of a side: its text and the bytes of its picture file (equal pixels are equal files).
std::string content(const Side& side, const fs::path& folder) {
  return side.text + "\n" + (side.image().empty() ? "" : read_text(folder / side.image()));
}

void no_pair_in_train_and_test(const Demonstration& demo) {
  std::set<std::pair<std::string, std::string>> train;
  for (const TrainSet& set : read_train_sets(train_folder(demo.train_data())))
    for (size_t i = 0; i < set.rows.size(); ++i)
      train.emplace(content(set.rows[i].query, demo.train_data()),
                    content(set.rows[i].positives[0], demo.train_data()));
  int64_t shared = 0;
  for (const std::string& name : list_subsets(demo.test_data(), "test.jsonl", {}))
    for (const EvalRow& row : read_eval_rows(demo.test_data() / name / "test.jsonl"))
      shared += train.contains({content(row.query, demo.test_data()), content(row.candidates[0], demo.test_data())});
  at_most("(query, positive) pairs in train and test", double(shared), 0);
}

void same_bits(const Demonstration& demo) {
  const auto encoder = load_encoder(demo.path("seed42"));
  std::vector<EncoderInput> inputs;
  for (const std::string& name : list_subsets(demo.test_data(), "test.jsonl", {}))
    for (const EvalRow& row : read_eval_rows(demo.test_data() / name / "test.jsonl"))
      inputs.push_back(encoder_input(row.query, encoder->image_token(), demo.test_data()));
  const int before = threads();
  set_threads(1);
  const auto reference = to_vector<float>(embed(*encoder, inputs, 64));
  double changed = 0;
  for (const int n : {1, 2})
    for (const int64_t batch : {1, 7, 64}) {
      set_threads(n);
      const auto other = to_vector<float>(embed(*encoder, inputs, batch));
      for (size_t i = 0; i < other.size(); ++i) changed += other[i] != reference[i];
    }
  at_most("embeddings, 1 and 2 threads, batches of 1, 7, 64: numbers that change", changed, 0);
  demo.train("seed42-init", "one-thread", 42, 100, demo.train_data(), {"--threads", "1"});
  demo.train("seed42-init", "two-threads", 42, 100, demo.train_data(), {"--threads", "2"});
  set_threads(before);
  at_most("100 training steps, 1 and 2 threads: files that differ",
          read_text(fs::path(demo.path("one-thread")) / "model.safetensors") !=
              read_text(fs::path(demo.path("two-threads")) / "model.safetensors"),
          0);
}

void grad_cache(const Demonstration& demo) {
  std::vector<EncoderInput> queries, targets;
  const auto gradients = [&](int64_t chunk, int64_t pairs, bool lora = false) {
    const auto encoder = load_encoder(demo.path("seed42"));
    std::vector<Parameter*> trained = encoder->backbone->parameters();
    if (lora) {
      trained = attach_lora(*encoder->backbone, {8, 16, 0.1, {"q_proj", "v_proj", "down_proj", "fc1"}},
                            &encoder->backbone->dropout)
                    .parameters();
      for (size_t i = 0; i < trained.size(); ++i)
        trained[i]->set(normal_tensor(trained[i]->shape(), 0.1, i, DType::f32, Device::cpu));  // B = 0 would hide A
      encoder->backbone->dropout.active = true, encoder->backbone->dropout.seed = 5;
    }
    const TrainedParameters parameters(trained);
    reset_peak_bytes();
    contrastive_step(*encoder, std::span(queries).first(size_t(pairs)), std::span(targets).first(size_t(pairs)),
                     {0.05, chunk, chunk});
    return std::pair(to_vector<double>(parameters.gradients()), memory_statistics().peak_bytes);
  };
  for (const SetSource& source : train_folder(demo.train_data())) {
    const PackedRows rows = read_train_rows(source.file, 6);
    for (size_t i = 0; i < rows.size(); ++i) {
      const TrainRow row = rows[i];
      const uint64_t key = 2 * queries.size();
      queries.push_back(encoder_input(row.query, "<|image_pad|>", demo.train_data(), key));
      targets.push_back(encoder_input(row.positives[0], "<|image_pad|>", demo.train_data(), key + 1));
    }
  }
  const int64_t n = int64_t(queries.size());
  for (const bool lora : {false, true}) {
    const auto plain = gradients(0, n, lora).first;
    for (const int64_t chunk : {1, 3, 8}) {
      const auto cached = gradients(chunk, n, lora).first;
      double difference = 0, size = 0;
      for (size_t i = 0; i < plain.size(); ++i)
        difference += std::pow(cached[i] - plain[i], 2), size += plain[i] * plain[i];
      at_most(sentence("GradCache, ", lora ? "LoRA with dropout" : "all weights", ", chunk ", chunk,
                       " against plain, f32: relative L2"),
              std::sqrt(difference / size), 1e-5);
    }
  }
  const PackedRows grids = read_train_rows(demo.train_data() / "GridQA/original.jsonl", 1);  // a 64×64 picture
  queries.assign(512, encoder_input(grids[0].query, "<|image_pad|>", demo.train_data()));
  targets = queries;
  const double small = double(gradients(8, 64).second), large = double(gradients(8, 512).second);
  at_most("peak bytes of 512 pairs beyond 1.02 x those of 64, a pair, chunk 8", (large - 1.02 * small) / (512 - 64),
          16384);
}

// 30 kills, the same seeded moments each time, and the bits of a run that nobody killed.
void kills(const Demonstration& demo) {
  const auto arguments = [&](const std::string& output) {
    return Arguments{"train",
                     "--model_name",
                     demo.path("seed42-init"),
                     "--dataset_name",
                     demo.train_data(),
                     "--output_dir",
                     demo.path(output),
                     "--max_steps",
                     "500",
                     "--per_device_train_batch_size",
                     "8",
                     "--learning_rate",
                     "1e-3",
                     "--warmup_ratio",
                     "0.1",
                     "--save_steps",
                     "2",
                     "--save_total_limit",
                     "2",
                     "--resume_from",
                     "auto",
                     "--quiet"};
  };
  for (const char* output : {"killed", "unkilled"}) fs::remove_all(demo.path(output));
  const Kills result = kill_and_resume(arguments("killed"), demo.path("killed"), 30, 42);
  const Kills straight = kill_and_resume(arguments("unkilled"), demo.path("unkilled"), 0, 42);
  at_least("SIGKILLs of one training run", result.kills, 30);
  at_least("of them inside a save", result.inside_saves, 3);
  at_most("leftovers of killed saves after the last run", result.leftovers, 0);
  const auto weights = [&](const char* output) { return read_text(fs::path(demo.path(output)) / "model.safetensors"); };
  const bool equal = result.finished && straight.finished && weights("killed") == weights("unkilled");
  at_most("final weights that differ from those of the run that was not killed", equal ? 0 : 1, 0);
}

int run(const fs::path& folder, const Arguments& recipe) {
  const Demonstration demo(folder, recipe);
  three_seeds(demo);
  another_family(demo);
  random_embeddings(demo);
  permuted_targets(demo);
  no_pair_in_train_and_test(demo);
  same_bits(demo);
  grad_cache(demo);
  kills(demo);
  std::printf("%-76s %12s    %12s\n", "check", "value", "limit");
  bool all = true;
  for (const Row& r : table) {
    std::printf("%-76s %12.6g", r.name.c_str(), r.value);
    if (*r.relation) std::printf(" %s %12.6g  %s", r.relation, r.limit, met(r) ? "ok" : "MISSED");
    std::printf("\n");
    all = all && met(r);
  }
  return all ? 0 : 1;
}

}  // namespace
}  // namespace vlm2vec

int main(int count, char** words) {
  try {
    if (count < 3) vlm2vec::fail(vlm2vec::Exit::usage, "usage: slow FOLDER TRAIN_OPTIONS, as make test-slow has them");
    return vlm2vec::run(words[1], {words + 2, words + count});
  } catch (const vlm2vec::Error& e) {
    std::fprintf(stderr, "slow: %s\n", e.what());
    return int(e.code);
  }
}
