// Runs the steps of a run, writes its log and its checkpoints, and handles steps that end with an error.
#include <chrono>

#include "io/current_error.h"
#include "io/interrupt.h"
#include "io/progress.h"
#include "io/text.h"
#include "mmeb/training/training_run.h"
#include "tensor/finite.h"
#include "tensor/host_memory.h"

namespace vlm2vec {
namespace {

using Clock = std::chrono::steady_clock;

// Draws the batches that a checkpoint has seen and returns their number of pairs.
int64_t skip(TrainingData& rows, int64_t batches) {
  int64_t pairs = 0;
  for (int64_t i = 0; i < batches; ++i) pairs += int64_t(rows.next().size());
  return pairs;
}

// Checks weights and moments.
bool is_finite(const TrainerRun& run) {
  const auto good = [](const Tensor& t) { return all_finite(t.to(Device::cpu)); };
  return good(run.parameters.values()) && good(run.optimiser.first_moment()) &&
         good(run.optimiser.second_moment());
}

// Returns the cure for too little memory, as the end of a sentence.
std::string memory_cure(const TrainOptions& o) {
  if (o.gc_tokens > 0) return "; lower --gc_tokens";
  if (o.gc_q_chunk_size == 1 && o.gc_p_chunk_size == 1) return "; lower --resize_max_pixels or --max_len";
  if (o.gc_q_chunk_size > 0 && o.gc_p_chunk_size > 0) return "; lower --gc_q_chunk_size and --gc_p_chunk_size";
  return "; give --gc_q_chunk_size and --gc_p_chunk_size, the rows embedded at a time";
}

Error step_error(const TrainOptions& o) {
  try {
    throw;
  } catch (const OutOfMemory& e) {
    return {e.code, e.what() + memory_cure(o)};
  } catch (const std::bad_alloc&) {
    return {Exit::resources, "out of memory" + memory_cure(o)};
  } catch (...) {
    return current_error();
  }
}

// Ends the run with the error and names the checkpoint to continue from.
[[noreturn]] void fail_keeping(TrainerRun& run, const Error& error) {
  std::string kept;
  try {
    finish_saving(run);
  } catch (...) {  // the first error matters, here and below
  }
  try {
    kept = kept_checkpoint(run.options.output_dir);
  } catch (...) {
  }
  if (kept.empty()) throw error;
  const bool adapter = run.model.lora.has_value();  // resuming after Exit::failed would fail again
  fail(error.code, error.what(), "; ", kept, " is kept",
       error.code != Exit::failed ? ", and --resume_from auto continues from it"
       : adapter                  ? sentence("; train from it with --adapter ", kept, " and another --output_dir")
                                  : sentence("; train from it with --model_name ", kept, " and another --output_dir"));
}

// On the CPU a thread writes, `beside` the next step. A GPU's weights would have to be copied first.
void save(TrainerRun& run, int64_t step, Save what, bool beside) {
  try {
    finish_saving(run);  // the one before
    if (!is_finite(run))
      fail(Exit::failed, "train: after step ", step, " not all weights are finite numbers; lower --learning_rate");
    const auto write = [&run, step, what, state = run.log->trainer_state()] {
      save_run(what, run.identity, step, run.model, run.optimiser, state);
    };
    if (beside && run.device == Device::cpu) run.saving = Ahead<void>(write);
    else write();
  } catch (...) {
    fail_keeping(run, current_error());
  }
}

// Saves after an error, without a second error.
void save_if_sound(TrainerRun& run, int64_t step) {
  try {
    finish_saving(run);
    if (is_finite(run))
      save_run(Save::checkpoint, run.identity, step, run.model, run.optimiser, run.log->trainer_state());
  } catch (...) {
  }
}

std::string rate_of(double pairs_per_second) {
  const double rate = pairs_per_second < 1 ? 1 / pairs_per_second : pairs_per_second;
  return formatted(rate < 9.95 ? "%.1f %s" : "%.0f %s", rate, pairs_per_second < 1 ? "s/pair" : "pairs/s");
}

// Returns details for the progress line, the most important first.
std::vector<std::string> details_of(const StepLog& line, double pairs_per_second) {
  if (line.pairs == 0) return {sentence("no pair, ", line.skipped, " left out")};
  return {formatted("loss %.4f", line.loss), formatted("acc %.2f", line.in_batch_accuracy), rate_of(pairs_per_second),
          formatted("lr %.2e", line.learning_rate), formatted("duplicates %.2f", line.duplicates)};
}

std::string single_pairs_note(int64_t batches) {
  if (batches == 0) return "";
  return sentence("train: --bad_rows skip left a single pair in ", batches, batches == 1 ? " batch" : " batches",
                  "; a single pair has no negatives, so the model learns nothing from it");
}

}  // namespace

TrainResult run_steps(TrainerRun& run, const std::function<StepLog(TrainerRun&, int64_t)>& take_step) {
  const TrainOptions& o = run.options;
  const InterruptGuard guard;
  TrainResult result;
  result.planned_peak_bytes = run.planned_peak_bytes;
  Progress progress("train", o.max_steps, run.quiet, run.first, o.logging_steps);
  int64_t seen = skip(run.rows, run.first * o.gradient_accumulation_steps), saved = run.first;
  Clock::time_point saved_at = Clock::now();
  for (int64_t step = run.first + 1; step <= o.max_steps && !result.interrupted; ++step) {
    StepLog line;
    const int64_t before = run.optimiser.steps();
    try {
      line = take_step(run, step);
    } catch (...) {
      const Error error = step_error(o);
      if (saved < step - 1 && before > 0 && run.optimiser.steps() == before) save_if_sound(run, step - 1);
      fail_keeping(run, error);
    }
    seen += line.pairs + line.skipped;
    line.epoch = double(seen) / double(run.rows.count());
    try {
      run.log->add(line);
    } catch (...) {
      const Error error = current_error();
      if (run.log->last_step() == step) save_if_sound(run, step);
      fail_keeping(run, error);
    }
    ++result.steps;
    result.pairs += line.pairs;
    result.peak_bytes = std::max(result.peak_bytes, line.peak_bytes);
    result.held_bytes = std::max(result.held_bytes, memory_statistics().peak_held_bytes);
    result.card_bytes = std::max(result.card_bytes, peak_held_on_card());
    result.pairs_per_second = double(result.pairs) / progress.seconds();
    progress.update(step, details_of(line, result.pairs_per_second));
    result.interrupted = interrupted() && step < o.max_steps;
    const bool regular = o.save_strategy == "steps", due = o.save_steps > 0 && step % o.save_steps == 0;
    const std::chrono::duration<double, std::ratio<60>> minutes = Clock::now() - saved_at;
    const bool beside = !result.interrupted && step < o.max_steps;
    if (result.interrupted || (regular && due)) save(run, step, Save::checkpoint, beside);
    else if (regular && o.save_minutes > 0 && minutes.count() >= o.save_minutes && step < o.max_steps)
      save(run, step, Save::latest, beside);
    else continue;
    saved = step, saved_at = Clock::now();
  }
  progress.note(run.model.encoder->processor.picture_note());
  progress.note(run.bad_rows->note());
  progress.note(single_pairs_note(run.single_pairs));
  progress.note(run.cut.note(o.max_len));
  progress.note(sentence("train: peak tensor memory ", in_bytes(result.peak_bytes), ", predicted ",
                         in_bytes(result.planned_peak_bytes), "; with what was kept for reuse ",
                         in_bytes(result.held_bytes)));
  if (result.interrupted) return result;
  if (run.optimiser.steps() == 0) fail(Exit::data, "train: no step had a usable row; ", run.bad_rows->note());
  save(run, o.max_steps, Save::finished, false);
  return result;
}

}  // namespace vlm2vec
