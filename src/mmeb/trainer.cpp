#include "mmeb/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mmeb/checkpoint.h"
#include "mmeb/grad_cache.h"
#include "mmeb/progress.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
std::atomic<bool> stop_requested{false};

void check_options(const TrainOptions& o) {
  const auto usage = [](bool ok, const auto&... parts) {
    if (!ok) fail(Exit::usage, parts...);
  };
  usage(!o.model_name.empty(), "train: --model_name is missing: the folder of the checkpoint to train");
  usage(!o.output_dir.empty(), "train: --output_dir is missing: where the trained model goes");
  usage(o.dataset_name.empty() != o.train_file.empty(),
        "train: one of --dataset_name and --train_file is needed, and not both");
  usage(o.batches.empty() || !o.train_file.empty(),
        "train: --batches numbers the rows of one file; it needs --train_file");
  usage(o.per_device_train_batch_size > 0 && o.max_steps > 0,
        "train: --per_device_train_batch_size and --max_steps must be positive");
  usage(o.temperature > 0, "train: --temperature ", o.temperature, ", expected a positive number");
  usage(o.gc_q_chunk_size >= 0 && o.gc_p_chunk_size >= 0 && o.save_steps >= 0 && o.warmup_steps >= 0,
        "train: chunk sizes, --save_steps and --warmup_steps cannot be negative");
  usage(0 <= o.warmup_ratio && o.warmup_ratio <= 1, "train: --warmup_ratio ", o.warmup_ratio, ", expected 0 to 1");
  usage(0 <= o.lora_dropout && o.lora_dropout < 1 && o.lora_r > 0,
        "train: expected --lora_dropout from 0 to below 1 and a positive --lora_r");
  usage(!(o.lora && o.use_dora),
        "train: --lora True trains DoRA by default, which this program does not have; add --use_dora False for LoRA");
}

// All rows, the folder their picture paths start from, and which rows each step takes.
class TrainingRows {
 public:
  explicit TrainingRows(const TrainOptions& o) {
    if (!o.train_file.empty()) {
      sets_.push_back({o.train_file, read_train_rows(o.train_file, o.num_sample_per_subset)});
      image_dir_ = fs::path(o.train_file).parent_path();
    } else {
      sets_ = read_train_folder(o.dataset_name, o.subset_name, o.num_sample_per_subset);
      image_dir_ = o.dataset_name;
    }
    if (!o.image_dir.empty()) image_dir_ = o.image_dir;
    std::vector<int64_t> sizes;
    for (const TrainSet& set : sets_) sizes.push_back(int64_t(set.rows.size()));
    if (o.batches.empty()) sampler_.emplace(sizes, o.per_device_train_batch_size, o.seed);
    else read_batches(o.batches, sizes[0]);
  }

  std::vector<const TrainRow*> next() {
    std::vector<const TrainRow*> rows;
    if (sampler_)
      for (const RowId id : sampler_->next()) rows.push_back(&sets_[size_t(id.set)].rows[size_t(id.row)]);
    else
      for (const int64_t row : batches_[position_++]) rows.push_back(&sets_[0].rows[size_t(row)]);
    return rows;
  }
  const fs::path& image_dir() const { return image_dir_; }
  size_t explicit_batches() const { return batches_.size(); }
  std::string summary() const {
    size_t rows = 0;
    for (const TrainSet& set : sets_) rows += set.rows.size();
    return sentence(rows, " rows of ", sets_.size(), sets_.size() == 1 ? " set" : " sets");
  }

 private:
  void read_batches(const std::string& file, int64_t rows) {
    try {
      batches_ = read_json(file).get<std::vector<std::vector<int64_t>>>();
    } catch (const nlohmann::json::exception&) {
      fail(Exit::data, file, ": expected a JSON list of lists of row numbers");
    }
    for (const auto& batch : batches_)
      for (const int64_t row : batch)
        if (row < 0 || row >= rows)
          fail(Exit::data, file, ": row ", row, " of a file with ", rows, " rows (numbers start at 0)");
  }
  std::vector<TrainSet> sets_;
  std::vector<std::vector<int64_t>> batches_;
  std::optional<Sampler> sampler_;
  fs::path image_dir_;
  size_t position_ = 0;
};

TrainedModel load_model(const TrainOptions& o, const std::optional<FoundCheckpoint>& checkpoint, Device device,
                        std::vector<std::string>& notes) {
  const bool adapters = o.lora || !o.adapter.empty();
  const EncoderOptions encoder_options{
      .device = device, .min_pixels = o.resize_min_pixels, .max_pixels = o.resize_max_pixels};
  TrainedModel model{
      load_encoder(checkpoint && !adapters ? checkpoint->folder : fs::path(o.model_name), encoder_options),
      {},
      o.model_name};
  Encoder& encoder = *model.encoder;
  encoder.set_gradient_checkpointing(o.gradient_checkpointing);
  if (!adapters) return model;
  const fs::path folder = checkpoint ? checkpoint->folder : fs::path(o.adapter);
  if (!folder.empty()) {
    model.lora = load_adapter(encoder, folder, !o.use_dora, &encoder.dropout, DType::f32, device, notes);
  } else {
    model.lora =
        attach_lora(encoder, {int(o.lora_r), o.lora_alpha, o.lora_dropout, o.lora_target_modules}, &encoder.dropout);
    initialise_lora(*model.lora, o.seed, DType::f32, device);
    for (const std::string& target : model.lora->unmatched_targets)
      notes.push_back("lora: no layer is named " + target + "; ignored");
  }
  return model;
}

int64_t count(const std::vector<Parameter*>& parameters) {
  int64_t n = 0;
  for (const Parameter* p : parameters) n += numel(p->shape());
  return n;
}

// The lines of the steps that a checkpoint has; what came after it is forgotten.
std::string keep_log(const fs::path& file, int64_t steps) {
  if (steps == 0 || !fs::exists(file)) return "";
  const std::string text = read_text(file);
  size_t end = 0;
  for (int64_t i = 0; i < steps && end < text.size(); ++i)
    end = text.find('\n', end) == std::string::npos ? text.size() : text.find('\n', end) + 1;
  return text.substr(0, end);
}

std::string to_line(const StepLog& log) {
  return nlohmann::ordered_json{{"step", log.step},
                                {"loss", log.loss},
                                {"grad_norm", log.grad_norm},
                                {"learning_rate", log.learning_rate},
                                {"in_batch_accuracy", log.in_batch_accuracy},
                                {"seconds", log.seconds},
                                {"peak_bytes", log.peak_bytes}}
      .dump();
}

// The share of queries whose best target is their own, or equal to it in text and picture.
double accuracy(const std::vector<const TrainRow*>& rows, const std::vector<int32_t>& best) {
  size_t right = 0;
  for (size_t i = 0; i < rows.size(); ++i) right += rows[size_t(best[i])]->positive == rows[i]->positive;
  return double(right) / double(rows.size());
}

}  // namespace

void stop_training() { stop_requested = true; }

TrainResult train(TrainOptions o, Device device, bool quiet) {
  check_options(o);
  stop_requested = false;
  TrainingRows rows(o);
  if (!o.batches.empty() && int64_t(rows.explicit_batches()) < o.max_steps)
    fail(Exit::usage, "train: --max_steps ", o.max_steps, ", but ", o.batches, " has ", rows.explicit_batches(),
         " batches");
  const std::optional<FoundCheckpoint> checkpoint = find_checkpoint(o);
  const int64_t first = checkpoint ? checkpoint->step : 0;
  std::vector<std::string> notes;
  const TrainedModel model = load_model(o, checkpoint, device, notes);
  Encoder& encoder = *model.encoder;
  const TrainedParameters parameters(model.lora ? model.lora->parameters() : encoder.parameters());
  AdamW optimiser(parameters, {o.adam_beta1, o.adam_beta2, o.adam_epsilon, o.weight_decay});
  if (checkpoint) restore_optimiser(*checkpoint, optimiser);
  const int64_t warmup = o.warmup_steps > 0 ? o.warmup_steps : int64_t(std::ceil(o.warmup_ratio * double(o.max_steps)));
  const Schedule schedule{parse_schedule(o.lr_scheduler_type), warmup, o.max_steps};
  const ContrastiveOptions contrastive{o.temperature, o.gc_q_chunk_size, o.gc_p_chunk_size, {}};

  fs::create_directories(o.output_dir);
  const fs::path log_file = fs::path(o.output_dir) / "log.jsonl";
  write_text(log_file, keep_log(log_file, first));
  write_text(fs::path(o.output_dir) / "training_options.json", options_as_json(o));
  std::ofstream log_stream(log_file, std::ios::app);
  if (!quiet) {
    for (const std::string& note : notes) std::fprintf(stderr, "%s\n", note.c_str());
    std::fprintf(
        stderr, "%s\n",
        sentence("train: ", rows.summary(), ", ", count(parameters.parameters()), " of ", count(encoder.parameters()),
                 " parameters trained", first ? sentence(", going on after step ", first) : "")
            .c_str());
  }

  TrainResult result;
  Progress progress("train", o.max_steps, quiet);
  for (int64_t skipped = 0; skipped < first; ++skipped) rows.next();
  for (int64_t step = first + 1; step <= o.max_steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    reset_peak_bytes();
    const std::vector<const TrainRow*> batch = rows.next();
    std::vector<EncoderInput> queries, targets;
    for (size_t i = 0; i < batch.size(); ++i) {
      queries.push_back(encoder_input(batch[i]->query, encoder.image_token(), rows.image_dir(), 2 * i));
      targets.push_back(encoder_input(batch[i]->positive, encoder.image_token(), rows.image_dir(), 2 * i + 1));
    }
    encoder.dropout.active = model.lora && model.lora->config.dropout > 0;
    encoder.dropout.seed = mix(o.seed, uint64_t(step));
    parameters.clear_gradients();
    const ContrastiveResult step_result = contrastive_step(encoder, queries, targets, contrastive);
    contrastive.comm.all_reduce(parameters.gradients());
    const GradientNorm gradient = clip_gradients(parameters.gradients(), o.max_grad_norm);
    if (!std::isfinite(step_result.loss) || !std::isfinite(gradient.norm))
      fail(Exit::failed, "train: step ", step, ": the loss is ", step_result.loss, " and the gradient norm ",
           gradient.norm, "; lower --learning_rate or raise --temperature");
    StepLog log;
    log.learning_rate = o.learning_rate * schedule.factor(step - 1);
    optimiser.step(log.learning_rate, gradient.scale);

    log.step = step, log.loss = step_result.loss, log.grad_norm = gradient.norm;
    log.in_batch_accuracy = accuracy(batch, step_result.best);
    log.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    log.peak_bytes = memory_statistics().peak_bytes;
    log_stream << to_line(log) << std::endl;
    if (!log_stream) fail(Exit::resources, log_file.string(), ": writing failed; is the disk full?");
    ++result.steps;
    result.pairs_per_second = double(result.steps * int64_t(batch.size())) / progress.seconds();
    char details[160];
    std::snprintf(details, sizeof details, "loss %.4f  acc %.2f  lr %.2e  %.0f pairs/s", log.loss,
                  log.in_batch_accuracy, log.learning_rate, result.pairs_per_second);
    progress.update(step, details);
    result.interrupted = stop_requested && step < o.max_steps;
    if (result.interrupted || (o.save_steps > 0 && step % o.save_steps == 0))
      save_checkpoint(o.output_dir, step, model, optimiser, o);
    if (result.interrupted) return result;
  }
  save_model(model, o.output_dir);
  return result;
}

}  // namespace vlm2vec
