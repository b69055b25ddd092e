#include "mmeb/training_rows.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStandardSteps = 2000;  // of the official V1 recipe

int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// The last batch of an epoch may be smaller, as Hugging Face counts. A step may have batches of two epochs, where
// Hugging Face ends it with the epoch.
int64_t steps_of(const TrainOptions& o, int64_t rows) {
  if (o.max_steps > 0) return o.max_steps;
  if (o.num_train_epochs == 0) return kStandardSteps;
  const double batches = o.num_train_epochs * double(parts(rows, o.per_device_train_batch_size));
  return int64_t(std::ceil(batches / double(o.gradient_accumulation_steps)));
}

}  // namespace

TrainingRows::TrainingRows(const TrainOptions& o)
    : batch_size_(o.per_device_train_batch_size),
      accumulation_(o.gradient_accumulation_steps),
      num_train_epochs_(o.num_train_epochs) {
  if (!o.train_file.empty()) {
    sets_.push_back({o.train_file, read_train_rows(o.train_file, o.num_sample_per_subset)});
    image_dir_ = fs::path(o.train_file).parent_path();
  } else {
    sets_ = read_train_folder(o.dataset_name, o.subset_name, o.num_sample_per_subset);
    image_dir_ = o.dataset_name;
  }
  if (!o.image_dir.empty()) image_dir_ = o.image_dir;
  std::vector<int64_t> sizes;
  for (const TrainSet& set : sets_) sizes.push_back(int64_t(set.rows.size())), row_count_ += sizes.back();
  steps_ = steps_of(o, row_count_);
  if (o.batches.empty()) sampler_.emplace(sizes, o.per_device_train_batch_size, o.seed);
  else read_batches(o);
}

void TrainingRows::read_batches(const TrainOptions& o) {
  try {
    batches_ = read_json(o.batches).get<std::vector<std::vector<int64_t>>>();
  } catch (const nlohmann::json::exception&) {
    fail(Exit::data, o.batches, ": expected a JSON list of lists of row numbers");
  }
  const int64_t rows = int64_t(sets_[0].rows.size());
  for (size_t i = 0; i < batches_.size(); ++i) {
    if (batches_[i].empty()) fail(Exit::data, o.batches, ": batch ", i + 1, " is empty");
    for (const int64_t row : batches_[i])
      if (row < 0 || row >= rows)
        fail(Exit::data, o.batches, ": row ", row, " of a file with ", rows, " rows (numbers start at 0)");
  }
  if (int64_t(batches_.size()) < steps_ * accumulation_)
    fail(Exit::usage, "train: ", steps_, steps_ == 1 ? " step" : " steps", " of ", accumulation_,
         accumulation_ == 1 ? " batch" : " batches", ", but ", o.batches, " has ", batches_.size(),
         "; lower --max_steps");
}

void TrainingRows::check_pictures() const {
  std::set<std::string> found;
  for (const TrainSet& set : sets_)
    for (size_t i = 0; i < set.rows.size(); ++i)
      for (const Side* side : {&set.rows[i].query, &set.rows[i].positive})
        if (!side->image.empty() && found.insert(side->image).second && !fs::is_regular_file(image_dir_ / side->image))
          fail(Exit::data, (image_dir_ / side->image).string(), ": no such file; row ", i + 1, " of ", set.name,
               " names this picture (--image_dir is joined before it)");
}

std::vector<RowId> TrainingRows::next() {
  if (sampler_) return sampler_->next();
  std::vector<RowId> rows;
  for (const int64_t row : batches_[position_++]) rows.push_back({0, int32_t(row)});
  return rows;
}

int64_t TrainingRows::epochs() const {
  if (num_train_epochs_ > 0) return int64_t(std::ceil(num_train_epochs_));
  const int64_t drawn = steps_ * accumulation_;
  if (batches_.empty()) return parts(drawn, parts(row_count_, batch_size_));
  int64_t pairs = 0;
  for (int64_t i = 0; i < drawn; ++i) pairs += int64_t(batches_[size_t(i)].size());
  return parts(pairs, row_count_);
}

std::string TrainingRows::name_of(RowId id) const {
  return sentence("row ", id.row + 1, " of ", sets_[size_t(id.set)].name);
}

std::string TrainingRows::summary() const {
  const std::string times = accumulation_ > 1 ? sentence(accumulation_, " times ") : "";
  const std::string pairs =
      batches_.empty() ? sentence(times, batch_size_, " pairs") : "the pairs that --batches names";
  return sentence(row_count_, " rows of ", sets_.size(), sets_.size() == 1 ? " set, " : " sets, ", steps_,
                  steps_ == 1 ? " step of " : " steps of ", pairs);
}

std::string TrainingRows::note() const {
  if (!batches_.empty() || batch_size_ <= row_count_) return "";
  return sentence("train: a batch of ", batch_size_, " pairs repeats some of the ", row_count_,
                  " rows, and equal rows are each other's wrong answers; lower --per_device_train_batch_size");
}

uint64_t TrainingRows::fingerprint() const {
  uint64_t hash = 0xCBF29CE484222325u;
  const auto add = [&](const std::string& text) {
    for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001B3u;
    hash *= 0x100000001B3u;  // a boundary
  };
  for (const TrainSet& set : sets_)
    for (const TrainRow& row : set.rows)
      for (const Side* side : {&row.query, &row.positive}) add(side->text), add(side->image);
  for (const auto& batch : batches_)
    for (const int64_t row : batch) add(std::to_string(row));
  return hash;
}

}  // namespace vlm2vec
