// What is left of a run that does not end as planned: killed, hung up, out of memory or disk, not finite.
#include <sys/resource.h>

#include <csignal>
#include <new>

#include "cli_fixture.h"
#include "expect_error.h"
#include "io/current_error.h"
#include "io/interrupt.h"
#include "mmeb/training/training_run.h"
#include "tensor/tensor_files.h"
#include "trainer_fixture.h"
#include "wait_until.h"

namespace vlm2vec {
namespace {

class Saves : public Trainer {
 protected:
  using Step = std::function<StepLog(TrainerRun&, int64_t)>;
  static TrainResult run(const TrainOptions& o, const Step& step) {
    return run_steps(*prepare_run(o, Device::cpu, true), step);
  }
  // As it is, but at step `at`, when no checkpoint is under way, f() is called first.
  static Step with(int64_t at, const std::function<void()>& f) {
    return [=](TrainerRun& run, int64_t step) {
      if (step == at) finish_saving(run), f();
      return train_step(run, step);
    };
  }
  std::set<std::string> checkpoints(const std::string& run) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / run))
      if (entry.path().filename().string().starts_with("checkpoint-")) names.insert(entry.path().filename());
    return names;
  }
  using Names = std::set<std::string>;
};

TEST_F(Saves, nothing_when_there_are_two_ranks) {
  const auto two = prepare_run(options("ranks"), Device::cpu, true);
  two->comm = {.rank = 0, .size = 2};
  const Tensor before = two->parameters.values().clone();
  expect_error("Comm: rank 0 of 2; only one rank can run", [&] { train_step(*two, 0); });
  EXPECT_EQ(to_vector<float>(two->parameters.values()), to_vector<float>(before));
}

TEST_F(Saves, by_time_one_checkpoint_takes_the_place_of_the_other) {
  TrainOptions o = lora("run");
  o.save_minutes = 1e-9, o.save_total_limit = 1, o.save_steps = 4;
  std::vector<Names> seen;  // before each step
  run(o, [&](TrainerRun& run, int64_t step) {
    finish_saving(run);
    seen.push_back(checkpoints("run"));
    return train_step(run, step);
  });
  ASSERT_EQ(seen.size(), 12u);
  EXPECT_EQ(seen[0], Names{});
  EXPECT_EQ(seen[1], Names{"checkpoint-latest"});
  EXPECT_EQ(seen[4], Names{"checkpoint-4"});  // which has what the latest had
  EXPECT_EQ(seen[7], (Names{"checkpoint-4", "checkpoint-latest"}));
  EXPECT_EQ(checkpoints("run"), Names{"checkpoint-12"});
}

// A thread writes the files of a step while the next one runs, until it moves the weights. They are those of a run that
// ends with the step.
TEST_F(Saves, are_written_while_the_next_step_runs) {
  for (const std::string what : {"full", "dora", "bf16"}) {
    TrainOptions o = what == "dora" ? dora(what) : options(what);
    if (what == "bf16") o.precision = "bf16";
    o.max_steps = 4, o.save_steps = 1, o.lr_scheduler_type = "constant";
    run(o, [&](TrainerRun& run, int64_t step) {
      EXPECT_EQ(bool(run.saving), step > 1) << "its step has returned";
      if (step > 1) {
        EXPECT_TRUE(wait_until([&] { return run.saving.ready(); })) << "it is not left to this thread";
      }
      const StepLog line = train_step(run, step);
      EXPECT_FALSE(run.saving) << "the weights have moved";
      return line;
    });
    EXPECT_EQ(checkpoints(what), (Names{"checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"}));
    const std::string weights = what == "dora" ? "adapter_model.safetensors" : "model.safetensors";
    for (const int64_t steps : {1, 3}) {
      TrainOptions until = o;
      until.output_dir = folder_ / sentence(what, steps), until.max_steps = steps, until.save_minutes = 1e-9;
      until.save_steps = 0;
      train(until, Device::cpu, true);
      const std::string beside = file(sentence(what, "/checkpoint-", steps, "/", weights));
      EXPECT_TRUE(beside == file(sentence(what, steps, "/", weights))) << what << ", step " << steps;
    }
  }
}

TEST_F(Saves, by_time_only_where_it_is_wanted) {
  for (const bool by_strategy : {true, false}) {
    TrainOptions o = lora(by_strategy ? "no" : "zero");
    o.save_minutes = by_strategy ? 1e-9 : 0;
    if (by_strategy) o.save_strategy = "no";
    run(o, [&](TrainerRun& run, int64_t step) {
      EXPECT_EQ(checkpoints(by_strategy ? "no" : "zero"), Names{}) << step;
      return train_step(run, step);
    });
  }
  EXPECT_EQ(TrainOptions().save_minutes, 10);
  TrainOptions o = options("negative");
  o.save_minutes = -1;
  expect_error(Exit::usage, "--save_minutes", [&] { train(o, Device::cpu, true); });
}

TEST_F(Saves, whatever_ends_a_step_keeps_the_state_before_it) {
  train(options("straight"), Device::cpu, true);
  const std::pair<std::function<void()>, std::string> ends[] = {
      {[] { throw std::bad_alloc(); }, "out of memory; give --gc_q_chunk_size and --gc_p_chunk_size"},
      {[] { throw OutOfMemory("out of memory: needed 9 MB more"); }, "needed 9 MB more; give --gc_q_chunk_size"},
      {[] { throw fs::filesystem_error("f", "/there", std::make_error_code(std::errc::io_error)); }, "/there: "},
      {[] { CHECK(false, "matmul: shapes differ"); }, "matmul: shapes differ"},
      {[] { fail(Exit::failed, "train: step 5: the loss is nan"); }, "the loss is nan"},
      {[] { throw std::logic_error("odd"); }, "odd"}};
  for (const auto& [end, sentence] : ends) {
    fs::remove_all(folder_ / "run");
    TrainOptions o = options("run");
    expect_error(sentence, [&, &end = end] { run(o, with(5, end)); });
    EXPECT_EQ(checkpoints("run"), Names{"checkpoint-4"}) << sentence;
    expect_error("run/checkpoint-4 is kept", [&, &end = end] {
      o.resume_from = "auto";
      run(o, with(5, end));
    });
    EXPECT_EQ(train(o, Device::cpu, true).steps, 8);
    EXPECT_TRUE(file("run/model.safetensors") == file("straight/model.safetensors")) << sentence;
  }
}

TEST_F(Saves, nothing_of_a_step_that_has_moved_the_weights) {
  const auto late = [](TrainerRun& run, int64_t step) {
    const StepLog line = train_step(run, step);
    if (step == 5) throw std::bad_alloc();
    return line;
  };
  TrainOptions o = lora("run");
  expect_error(Exit::resources, "lower --gc_q_chunk_size and --gc_p_chunk_size", [&] { run(o, late); });
  EXPECT_EQ(checkpoints("run"), Names{});
  o.save_minutes = 1e-9;
  expect_error(Exit::resources, "run/checkpoint-latest is kept, and --resume_from auto continues from it",
               [&] { run(o, late); });
  EXPECT_EQ(checkpoints("run"), Names{"checkpoint-latest"});
  EXPECT_EQ(json::parse(file("run/checkpoint-latest/training_state.json"))["step"], 4);
}

TEST_F(Saves, only_weights_that_are_numbers) {
  TrainOptions o = options("far");
  o.warmup_steps = 0, o.learning_rate = 1e30;  // the second loss is no number
  expect_error(Exit::failed, "far/checkpoint-1 is kept", [&] { train(o, Device::cpu, true); });
  for (const auto& [name, weight] : load_safetensors(folder_ / "far/checkpoint-1/model.safetensors"))
    for (const float x : to_vector<float>(weight)) ASSERT_TRUE(std::isfinite(x)) << name;
  o.learning_rate = 1e39;  // nor are the first weights
  for (const char* run : {"lost", "latest", "last"}) {
    o.output_dir = folder_ / run;
    o.save_minutes = run == std::string("latest") ? 1e-9 : 0, o.max_steps = run == std::string("last") ? 1 : 12;
    const std::string sentence =
        run == std::string("lost") ? "train: step 2: the loss is" : "after step 1 not all weights are finite numbers";
    expect_error(Exit::failed, sentence, [&] { train(o, Device::cpu, true); });
    EXPECT_EQ(checkpoints(run), Names{}) << run;
    EXPECT_FALSE(fs::exists(folder_ / run / "model.safetensors")) << run;
  }
}

// Files may have 16 kB at most from a step on, as on a full disk: the log fits, weights do not.
class FullDisk : public Saves {
 protected:
  FullDisk() : handler_(std::signal(SIGXFSZ, SIG_IGN)) { getrlimit(RLIMIT_FSIZE, &before_); }
  ~FullDisk() override { free_space(), std::signal(SIGXFSZ, handler_); }
  void fill(rlim_t bytes = 16384) const {
    rlimit small = before_;
    small.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &small);
  }
  void free_space() const { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(FullDisk, at_the_end_leaves_the_last_checkpoint_and_says_how_to_go_on) {
  train(options("straight"), Device::cpu, true);
  TrainOptions o = options("run");
  o.save_steps = 5;
  expect_error(Exit::resources, "run/checkpoint-10 is kept, and --resume_from auto continues from it",
               [&] { run(o, with(12, [&] { fill(); })); });
  free_space();
  EXPECT_EQ(checkpoints("run"), (Names{"checkpoint-5", "checkpoint-10"}));
  EXPECT_FALSE(fs::exists(folder_ / "run/model.safetensors"));
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 2);
  EXPECT_TRUE(file("run/model.safetensors") == file("straight/model.safetensors"));
}

TEST_F(FullDisk, while_a_checkpoint_is_replaced_leaves_the_old_one) {
  TrainOptions o = options("run");
  o.save_minutes = 1e-9;
  expect_error(Exit::resources, "run/checkpoint-latest is kept", [&] { run(o, with(6, [&] { fill(); })); });
  free_space();
  EXPECT_EQ(checkpoints("run"), Names{"checkpoint-latest"});
  EXPECT_EQ(json::parse(file("run/checkpoint-latest/training_state.json"))["step"], 5);
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 7);
}

// A writer's error ends the run before the weights move, whichever step is running.
TEST_F(FullDisk, while_the_next_step_runs_ends_that_step) {
  TrainOptions o = options("run");
  o.save_steps = 1;
  expect_error(Exit::resources, "run/checkpoint-3 is kept, and --resume_from auto continues from it", [&] {
    run(o, [&](TrainerRun& run, int64_t step) {
      if (step == 4) finish_saving(run), fill();
      const StepLog line = train_step(run, step);
      EXPECT_LT(step, 5) << "step 5 waits for the files of step 4";
      return line;
    });
  });
  free_space();
  EXPECT_EQ(checkpoints("run"), (Names{"checkpoint-1", "checkpoint-2", "checkpoint-3"}));
}

// log.jsonl has the step, the second disk with the event files is full.
TEST_F(FullDisk, of_the_logs_loses_no_step) {
  TrainOptions o = options("run");
  o.report_to = "tensorboard", o.logging_dir = folder_ / "events", o.save_steps = 5;
  expect_error(Exit::resources, "run/checkpoint-7 is kept, and --resume_from auto continues from it", [&] {
    run(o, with(7, [&] {
          constexpr size_t size = 1 << 20;
          for (const auto& events : fs::directory_iterator(folder_ / "events")) fs::resize_file(events, size);
          fill(size);
        }));
  });
  free_space();
  o.report_to = "none", o.logging_dir = "", o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 5);
}

TEST_F(FullDisk, is_said_before_the_first_step) {
  const TrainOptions o = options("run");
  fill();
  expect_error(Exit::resources, "a file may have at most 16.4 kB (ulimit -f)", [&] { train(o, Device::cpu, true); });
  free_space();
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

// What is planned is what is written, but for the files' headers.
TEST_F(Saves, take_the_disk_that_is_planned) {
  for (const std::string what : {"full", "lora", "bf16"}) {
    TrainOptions o = what == "lora" ? lora(what) : options(what);
    if (what == "bf16") o.precision = "bf16";
    o.save_steps = 5;
    const DiskPlan plan = plan_training(o, Device::cpu).disk;
    train(o, Device::cpu, true);
    const auto bytes = [&](const std::string& file) { return double(fs::file_size(folder_ / what / file)); };
    const std::string weights = what == "lora" ? "adapter_model.safetensors" : "model.safetensors";
    // Vectors of bf16 weights are saved narrower than they are kept.
    EXPECT_LE(bytes(weights), double(plan.model) + 16e3) << what;
    EXPECT_GE(bytes(weights), what == "bf16" ? 0.9 * double(plan.model) : double(plan.model)) << what;
    EXPECT_NEAR(bytes("checkpoint-5/optimizer.safetensors"), double(plan.moments), 16e3) << what;
    EXPECT_EQ(plan.checkpoint, plan.model + plan.moments);
    EXPECT_EQ(plan.most, (2 + 2) * plan.checkpoint);
    EXPECT_EQ(plan.least, (2 + 1) * plan.checkpoint);
    o.save_minutes = 0, o.save_steps = 0;
    EXPECT_EQ(plan_training(o, Device::cpu).disk.most, plan.model);
    o.save_steps = 1, o.save_total_limit = 2;
    EXPECT_EQ(plan_training(o, Device::cpu).disk.most, plan.model + 3 * plan.checkpoint);
  }
}

TEST(OutOfMemory, is_said_in_readable_numbers) {
  expect_error(Exit::resources, "out of memory: needed 1.1 PB more, tensors hold ",
               [] { Tensor({int64_t(1) << 50}, DType::u8, Device::cpu); });
}

TEST(DiskPlan, fits_is_warned_of_or_refused) {
  TrainOptions o;
  o.output_dir = "out";
  const DiskPlan plan{.model = 100, .moments = 200, .checkpoint = 300, .least = 600, .most = 3000};
  EXPECT_EQ(plan.require({5000, 3000}, o), "");
  EXPECT_EQ(plan.require({5000, 2999}, o),
            "train: --output_dir out: the run will write 3.0 kB (the model 100 B, a checkpoint 300 B) but only 3.0 kB "
            "are free now; free some space, lower --save_total_limit or raise --save_steps");
  expect_error(Exit::resources, "lower --save_total_limit, raise --save_steps", [&] { plan.require({2999, 900}, o); });
  expect_error(Exit::resources, "the run will write 600 B (the model 100 B, a checkpoint 300 B) but only 599 B are free",
               [&] {
                 plan.require({5000, 599}, o);
               });
  expect_error(Exit::resources, "--save_minutes 0", [&] { plan.require({5000, 599}, o); });
  expect_error(Exit::resources, "(ulimit -f)", [&] { plan.require({5000, 5000, 199}, o); });
  EXPECT_GT(disk_space("/nowhere/at/all").capacity, 0);
}

// A kill while a folder is removed or replaced leaves nothing half under its name.
TEST_F(Saves, a_checkpoint_half_removed_or_replaced_stops_nothing) {
  TrainOptions o = lora("run");
  o.save_steps = 4;
  train(o, Device::cpu, true);
  fs::create_directories(folder_ / "run/checkpoint-latest");
  write_text(folder_ / "run/checkpoint-latest/adapter_model.safetensors", "half");
  fs::create_directories(folder_ / "run/checkpoint-99");
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 0) << "it is finished";
  fs::remove(folder_ / "run/checkpoint-99");
  fs::remove(folder_ / "run/training_state.json");
  fs::rename(folder_ / "run/checkpoint-8", folder_ / "run/checkpoint-8.vlm2vec-replaced");
  fs::rename(folder_ / "run/checkpoint-12", folder_ / "run/checkpoint-12.vlm2vec-tmp-1");
  EXPECT_EQ(train(o, Device::cpu, true).steps, 4);
  EXPECT_EQ(checkpoints("run"), (Names{"checkpoint-4", "checkpoint-8", "checkpoint-12"}));
}

TEST(ReplaceFolder, works_where_names_cannot_be_exchanged) {
  const TemporaryFolder folder("replace");
  for (const bool exchange : {true, false}) {
    for (const char* name : {"new", "old"}) {
      fs::create_directories(folder / name);
      write_text(folder / name / "content", name);
    }
    replace_folder(folder / "new", folder / "old", exchange);
    EXPECT_EQ(read_text(folder / "old/content"), "new");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  }
  remove_folder(folder / "old"), remove_folder(folder / "old");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

class Signals : public Saves {};

TEST_F(Signals, a_second_one_of_either_kind_ends_at_once) {
  for (const int first : {SIGINT, SIGTERM})
    for (const int second : {SIGINT, SIGTERM})
      EXPECT_EXIT(
          {
            const InterruptGuard guard;
            std::raise(first);
            if (!interrupted()) _exit(1);
            std::raise(second);
            _exit(2);
          },
          testing::KilledBySignal(second), "Ctrl-C again");
}

TEST_F(Signals, hang_up_is_a_stop_with_a_checkpoint_however_often_it_comes) {
  TrainOptions o = lora("run");
  const TrainResult result = run(o, with(4, [] { std::raise(SIGHUP), std::raise(SIGHUP); }));
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(checkpoints("run"), Names{"checkpoint-4"});
}

TEST_F(Signals, that_were_ignored_stay_so_and_a_reader_may_go) {
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) {
    const auto before = std::signal(signal, signal == SIGPIPE ? SIG_DFL : SIG_IGN);  // as nohup starts a program
    TrainOptions o = lora("run" + std::to_string(signal));
    EXPECT_FALSE(run(o, with(4, [&] { std::raise(signal); })).interrupted);
    EXPECT_EQ(std::signal(signal, before), signal == SIGPIPE ? SIG_DFL : SIG_IGN);
  }
}

TEST_F(Cli, AKilledRunGoesOnFromTheLatestCheckpointBitForBit) {
  make_model();
  const std::string options =
      " train --model_name model --dataset_name train --max_steps 300 --per_device_train_batch_size 2 --quiet ";
  const std::string wait = "while [ $(cat out/log.jsonl 2>/dev/null | wc -l) -lt 5 ]; do sleep 0.01; done; ";
  ASSERT_EQ(run("version >/dev/null", "true; '" PROGRAM "'" + options + "--save_minutes 1e-9 --output_dir out & " +
                                          wait + "kill -9 $!; wait $! 2>/dev/null; ")
                .code,
            0);
  EXPECT_FALSE(fs::exists(folder_ / "out/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "out/checkpoint-latest/training_state.json"));
  EXPECT_EQ(run(options + "--output_dir straight").code, 0);
  EXPECT_EQ(run(options + "--output_dir out").code, 2);  // an earlier run, to go on with or to overwrite
  EXPECT_EQ(run(options + "--output_dir out --resume_from auto").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "out/checkpoint-latest"));
  EXPECT_TRUE(read_text(folder_ / "out/model.safetensors") == read_text(folder_ / "straight/model.safetensors"));
}

}  // namespace
}  // namespace vlm2vec
