#include "mmeb/training/training_data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "io/text.h"
#include "mmeb/data/dataset_config.h"
#include "mmeb/data/left_out.h"
#include "mmeb/registry/registry.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStandardSteps = 2000;  // from the official V1 recipe

int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// The last batch of an epoch may be smaller, as in Hugging Face. A step may have batches of two epochs; Hugging Face
// ends the step with the epoch.
int64_t steps_of(const TrainOptions& o, int64_t rows) {
  if (o.max_steps > 0) return o.max_steps;
  if (o.num_train_epochs == 0) return kStandardSteps;
  const double batches = o.num_train_epochs * double(parts(rows, o.per_device_train_batch_size));
  return int64_t(std::ceil(batches / double(o.gradient_accumulation_steps)));
}

// Returns the sources of the rows in a folder or a file.
std::vector<SetSource> sources_of(const TrainOptions& o) {
  if (!o.train_file.empty() && fs::is_fifo(o.train_file))
    fail(Exit::usage, "train: --train_file ", o.train_file,
         " is a pipe, but rows are read more than once; give a file");
  std::vector<SetSource> sources;
  if (o.train_file.empty())
    sources = train_folder(o.dataset_name, o.subset_name, o.dataset_split, o.missing_sets == "skip");
  else sources = {{o.train_file, o.train_file, fs::path(o.train_file).parent_path()}};
  for (SetSource& source : sources) {
    source.limit = o.num_sample_per_subset;
    if (!o.image_dir.empty()) source.image_dir = o.image_dir;
  }
  return sources;
}

// Returns the rows per block; official scripts give a number, or a share of the batch.
int64_t block_of(const TrainOptions& o) {
  const double size = o.homogeneous_batch_size_per_device;
  if (size == 0) return 1;
  const double rows = size > 1 ? size : size * double(o.per_device_train_batch_size);
  if (rows < 1 || (size > 1 && rows != std::floor(rows)) || rows > 1e15)
    fail(Exit::usage, "train: --homogeneous_batch_size_per_device ", size, " with batches of ",
         o.per_device_train_batch_size,
         "; expected a whole number of rows, or a share of the batch of one row or more");
  return int64_t(rows);
}

// Reads the rows of each step from --batches.
std::vector<std::vector<int64_t>> read_batches(const TrainOptions& o, int64_t rows) {
  std::vector<std::vector<int64_t>> batches;
  try {
    batches = read_json(o.batches).get<std::vector<std::vector<int64_t>>>();
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, o.batches, ": expected a JSON list of lists of row numbers");
  }
  for (size_t i = 0; i < batches.size(); ++i) {
    if (batches[i].empty()) fail(Exit::data, o.batches, ": batch ", i + 1, " is empty");
    for (const int64_t row : batches[i])
      if (row < 0 || row >= rows)
        fail(Exit::data, o.batches, ": row ", row, " of a file with ", rows, " rows (numbers start at 0)");
  }
  const int64_t steps = steps_of(o, rows), each = o.gradient_accumulation_steps;
  if (int64_t(batches.size()) < steps * each)
    fail(Exit::usage, "train: ", steps, steps == 1 ? " step" : " steps", " of ", each,
         each == 1 ? " batch" : " batches", ", but ", o.batches, " has ", batches.size(), "; lower --max_steps");
  return batches;
}

Sampler listed_sampler(const std::vector<std::vector<int64_t>>& batches) {
  return [batches, position = size_t(0)]() mutable {
    std::vector<RowId> batch;
    for (const int64_t row : batches[position]) batch.push_back({0, int32_t(row)});
    ++position;
    return batch;
  };
}

// FNV-1a.
class Fingerprint {
 public:
  void add(std::string_view text) {
    for (const unsigned char c : text) hash_ = (hash_ ^ c) * 0x100000001B3u;
    hash_ *= 0x100000001B3u;  // a boundary
  }
  void add(const Side& side) {
    add(side.text);
    if (side.images.size() != 1) hash_ = (hash_ ^ (256 + side.images.size())) * 0x100000001B3u;  // larger than any byte
    for (const std::string& image : side.images) add(image);
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xCBF29CE484222325u;
};

}  // namespace

std::string sampling_of(const TrainOptions& o) {
  if (!o.batches.empty()) return "";
  if (!o.sampling.empty()) return o.sampling;
  return o.dataset_config.empty() ? "shuffled" : "interleaved";
}

void check_row_options(const TrainOptions& o) {
  const TrainOptions standard;
  const auto usage = [](bool ok, const auto&... parts) {
    if (!ok) fail(Exit::usage, "train: ", parts...);
  };
  usage(!o.dataset_name.empty() + !o.train_file.empty() + !o.dataset_config.empty() == 1,
        "exactly one of --dataset_name, --dataset_config and --train_file is needed");
  usage(o.batches.empty() || !o.train_file.empty(), "--batches numbers the rows of one file; it needs --train_file");
  usage(o.train_file.empty() || o.subset_name.empty(),
        "--subset_name picks sets of a folder; --train_file is one file");
  usage(!o.dataset_name.empty() || o.dataset_split == standard.dataset_split,
        "--dataset_split picks the rows of a folder's sets; it needs --dataset_name");
  usage(o.dataset_split.find('/') == std::string::npos && !o.dataset_split.empty(), "--dataset_split: got \"",
        o.dataset_split, "\", expected a name such as original or diverse_instruction");
  usage(o.num_sample_per_subset >= 0, "--num_sample_per_subset cannot be negative");
  usage(o.dataset_config.empty() || (o.subset_name.empty() && o.num_sample_per_subset == 0 && o.image_dir.empty()),
        "--subset_name, --num_sample_per_subset and --image_dir are given in each entry of --dataset_config");
  usage(o.missing_sets == "error" || o.missing_sets == "skip", "--missing_sets: got \"", o.missing_sets,
        "\", expected error or skip");
  usage(o.missing_sets == "error" || !o.dataset_config.empty() || !o.subset_name.empty(),
        "--missing_sets has no effect without --dataset_config or --subset_name, which name the sets");
  usage(!o.dataset_config.empty() || o.data_basedir.empty(), "--data_basedir has no effect without --dataset_config");
  usage(o.sampling.empty() || o.sampling == "shuffled" || o.sampling == "interleaved" || o.sampling == "balanced",
        "--sampling: got \"", o.sampling, "\", expected shuffled, interleaved or balanced");
  usage(o.batches.empty() || o.sampling.empty(),
        "--sampling has no effect with --batches, which names each batch's rows");
  usage(o.interleave_stopping_strategy == "all_exhausted" || o.interleave_stopping_strategy == "first_exhausted",
        "--interleave_stopping_strategy: got \"", o.interleave_stopping_strategy,
        "\", expected all_exhausted or first_exhausted");
  usage(sampling_of(o) == "interleaved" || (o.interleave_stopping_strategy == standard.interleave_stopping_strategy &&
                                            o.homogeneous_batch_size_per_device == 0),
        "--interleave_stopping_strategy and --homogeneous_batch_size_per_device have no effect without --sampling "
        "interleaved");
  usage(o.homogeneous_batch_size_per_device >= 0, "--homogeneous_batch_size_per_device cannot be negative");
  usage(o.num_hardneg >= 0, "--num_hardneg cannot be negative");
}

TrainingData::TrainingData(const TrainOptions& o)
    : sampling_(sampling_of(o)),
      batch_size_(o.per_device_train_batch_size),
      accumulation_(o.gradient_accumulation_steps),
      num_hardneg_(o.num_hardneg),
      num_train_epochs_(o.num_train_epochs) {
  DatasetConfig config;
  if (o.dataset_config.empty()) config.sources = sources_of(o);
  else config = read_train_config(o.dataset_config, o.data_basedir);
  config_note_ = config.note;
  if (o.train_file.empty()) missing_sets_ = leave_out_missing(config.sources, o.missing_sets == "skip");
  sets_ = read_train_sets(config.sources, o.num_hardneg > 0, bad_row(o.bad_rows == "skip"));
  std::vector<int64_t> sizes;
  Interleaving interleaving;
  for (const TrainSet& set : sets_) {
    sizes.push_back(int64_t(set.rows.size())), row_count_ += sizes.back();
    interleaving.weights.push_back(set.source.weight);
  }
  double sum = 0;
  for (const double weight : interleaving.weights) sum += weight;
  for (const TrainSet& set : sets_)
    if (sampling_ == "interleaved" && set.source.weight < 1e-6 * sum)
      fail(Exit::usage, "train: the weight of ", set.source.name, " is ", set.source.weight, ", of all sets ", sum,
           "; it would hardly ever be drawn, so remove the set or raise its weight");
  steps_ = steps_of(o, row_count_);
  if (sampling_.empty()) {
    batches_ = read_batches(o, row_count_);
    sampler_ = listed_sampler(batches_);
  } else if (sampling_ == "interleaved") {
    interleaving.block = block_of(o);
    interleaving.first_exhausted = o.interleave_stopping_strategy == "first_exhausted";
    sampler_ = interleaved_sampler(sizes, interleaving, batch_size_, o.seed);
  } else {
    sampler_ = (sampling_ == "shuffled" ? shuffled_sampler : balanced_sampler)(sizes, batch_size_, o.seed);
  }
}

void TrainingData::check_pictures() const {
  std::map<fs::path, PictureCheck> checks;
  for (const TrainSet& set : sets_) {
    PictureCheck& check = checks.try_emplace(set.source.image_dir, set.pictures).first->second;
    set.rows.each_picture([&](const std::string& path, size_t row) { check.add(path, row, set.source.name); });
  }
  for (const auto& [folder, check] : checks) check.require_all();
}

std::vector<std::vector<RowId>> TrainingData::upcoming(int64_t rows) const {
  Sampler sampler = sampler_;  // a copy draws the same
  std::vector<std::vector<RowId>> batches;
  for (int64_t count = 0, all = steps_ * accumulation_; int64_t(batches.size()) < all;
       count += int64_t(batches.back().size())) {
    if (count >= rows && int64_t(batches.size()) >= accumulation_) break;
    batches.push_back(sampler());
  }
  return batches;
}

int64_t TrainingData::bytes() const {
  int64_t bytes = 0;
  for (const TrainSet& set : sets_) bytes += set.rows.bytes();
  return bytes;
}

int64_t TrainingData::epochs() const {
  if (num_train_epochs_ > 0) return int64_t(std::ceil(num_train_epochs_));
  const int64_t drawn = steps_ * accumulation_;
  if (batches_.empty()) return parts(drawn, parts(row_count_, batch_size_));
  int64_t pairs = 0;
  for (int64_t i = 0; i < drawn; ++i) pairs += int64_t(batches_[size_t(i)].size());
  return parts(pairs, row_count_);
}

std::string TrainingData::name_of(RowId id) const {
  return sentence("row ", id.row + 1, " of ", sets_[size_t(id.set)].source.name);
}

std::string TrainingData::form(RowId id, bool of_query) const {
  const RegisteredSet* set = registered(sets_[size_t(id.set)].source.name);
  return !set ? "" : of_query ? set->train_query : set->target;
}

std::string TrainingData::summary() const {
  const int64_t pairs_of = sampling_ == "shuffled" ? std::min(batch_size_, row_count_) : batch_size_;
  const std::string times = accumulation_ > 1 ? sentence(accumulation_, " times ") : "",
                    pairs = sampling_.empty() ? "the pairs that --batches names"
                                              : times + counted(uint64_t(pairs_of), "pair"),
                    order = sampling_.empty() ? "" : sampling_ + ", ";
  return sentence(row_count_, " rows of ", counted(sets_.size(), "set"), ", ", order, counted(uint64_t(steps_), "step"),
                  " of ", pairs);
}

// Without hard negatives, a batch of a single pair has no wrong answers.
std::string TrainingData::single_pairs_note() const {
  constexpr const char* reason = "has no wrong answers, so its loss is 0 and the model learns nothing from it";
  const int64_t drawn = steps_ * accumulation_, epoch = parts(row_count_, batch_size_);
  if (!batches_.empty()) {
    const int64_t single =
        std::count_if(batches_.begin(), batches_.begin() + drawn, [](const auto& b) { return b.size() == 1; });
    return single == 0 ? ""
                       : sentence("train: ", single, " of the ", drawn,
                                  " batches of --batches have one pair; such a batch ", reason);
  }
  if (batch_size_ == 1 || row_count_ == 1)
    return sentence("train: every batch has one pair; such a batch ", reason,
                    row_count_ == 1 ? "; more rows are needed" : "; raise --per_device_train_batch_size");
  if (sampling_ != "shuffled" || row_count_ % batch_size_ != 1 || drawn < epoch) return "";
  const auto fits = [&](int64_t size) { return size > 1 && row_count_ % size != 1; };
  int64_t distance = 1;
  while (!fits(batch_size_ - distance) && !fits(batch_size_ + distance)) ++distance;
  const int64_t better = fits(batch_size_ - distance) ? batch_size_ - distance : batch_size_ + distance;
  return sentence("train: the last of each epoch's ", epoch, " batches has one pair (", row_count_,
                  " rows in batches of ", batch_size_, "), which ", reason, "; --per_device_train_batch_size ", better,
                  " avoids it");
}

std::string TrainingData::note() const {
  std::vector<std::string> notes;
  notes.push_back(config_note_);
  notes.push_back(missing_sets_note("train", missing_sets_));
  bool weighted = false;
  size_t negatives = 0, unused = 0;
  for (const TrainSet& set : sets_)
    weighted |= set.source.weight != sets_[0].source.weight, negatives += set.rows.negatives(),
        unused += set.unused_negatives;
  if (num_hardneg_ == 0 && unused > 0)
    notes.push_back(sentence("train: ", unused, unused == 1 ? " set has" : " sets have",
                             " columns of hard negatives, which are not used without --num_hardneg"));
  if (num_hardneg_ > 0 && negatives == 0)
    notes.push_back(sentence("train: --num_hardneg ", num_hardneg_, ", but no row has negatives"));
  if (weighted && sampling_ != "interleaved")
    notes.push_back("train: the weights of --dataset_config have no effect with --sampling " + sampling_);
  if (num_hardneg_ == 0 || negatives == 0) notes.push_back(single_pairs_note());
  if (sampling_ == "balanced" && batch_size_ > row_count_)
    notes.push_back(sentence("train: a batch of ", batch_size_, " pairs repeats some of the ", row_count_,
                             " rows, and equal rows count as each other's wrong answers; lower "
                             "--per_device_train_batch_size"));
  if (sampling_ == "shuffled" && batch_size_ > row_count_)
    notes.push_back(sentence("train: each step has all ", row_count_, " rows, fewer than a batch of ", batch_size_));
  std::erase(notes, "");
  return joined(notes, "\n");
}

uint64_t TrainingData::fingerprint() const {
  Fingerprint hash;
  for (const TrainSet& set : sets_) {
    for (size_t i = 0; i < set.rows.size(); ++i) {
      const TrainRow row = set.rows[i];
      hash.add(row.query);
      for (const Side& side : row.positives) hash.add(side);
      for (const Side& side : row.negatives) hash.add(side);
    }
    hash.add(sentence(set.source.weight));
  }
  for (const auto& batch : batches_)
    for (const int64_t row : batch) hash.add(std::to_string(row));
  return hash.value();
}

}  // namespace vlm2vec
