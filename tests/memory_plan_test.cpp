// The memory plan: what a dry run predicts is what training takes.
#include "cli_fixture.h"
#include "expect_error.h"
#include "tensor/host_memory.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

using Plan = Trainer;

// At the peak the next rows have perhaps not been read.
void expect_near(const MemoryPlan& plan, int64_t peak, const std::string& name) {
  EXPECT_LE(double(plan.peak - plan.ahead), 1.05 * double(peak)) << name;
  EXPECT_GE(double(plan.peak), 0.95 * double(peak)) << name;
}

TEST_F(Plan, PredictsThePeakOfEveryKindOfRun) {
  std::map<std::string, TrainOptions> runs = {
      {"full", options("full")}, {"lora", lora("lora")}, {"dora", dora("dora")}};
  for (const int64_t chunk : {1, 2, 5}) {
    const std::string name = "chunks of " + std::to_string(chunk);
    runs[name] = options(name), runs[name].gc_q_chunk_size = runs[name].gc_p_chunk_size = chunk;
  }
  for (const bool keep : {false, true}) {
    const std::string name = keep ? "tokens" : "tokens, no tapes";
    runs[name] = options(name), runs[name].gc_tokens = 40, runs[name].gc_keep_tapes = keep;
  }
  runs["bf16"] = options("bf16"), runs["bf16"].precision = "bf16";
  runs["checkpointing"] = options("checkpointing"), runs["checkpointing"].gradient_checkpointing = true;
  runs["accumulation"] = options("accumulation"), runs["accumulation"].gradient_accumulation_steps = 3;
  runs["temperature"] = options("temperature"), runs["temperature"].learn_temperature = true;
  std::set<int64_t> peaks;
  for (auto& [name, o] : runs) {
    o.max_steps = 4;
    const MemoryPlan plan = plan_training(o, Device::cpu);
    EXPECT_FALSE(fs::exists(o.output_dir));
    EXPECT_EQ(plan.weights + plan.masters + plan.gradients + plan.optimiser + plan.embeddings + plan.kept + plan.ahead +
                  plan.chunk + plan.tapes,
              plan.peak);
    const TrainResult result = train(o, Device::cpu, true);
    EXPECT_EQ(result.planned_peak_bytes, plan.peak) << name;
    expect_near(plan, result.peak_bytes, name);
    peaks.insert(result.peak_bytes);
  }
  EXPECT_GE(peaks.size(), 7u);  // they differ, so that the prediction says something
}

// On this machine the tapes of a tiny model find room; without chunks there are none to keep.
TEST_F(Plan, CountsTheTapesThatItAllows) {
  TrainOptions o = options("a");
  EXPECT_EQ(plan_training(o, Device::cpu).tape_room, 0);
  o.gc_q_chunk_size = o.gc_p_chunk_size = 1;
  const MemoryPlan with = plan_training(o, Device::cpu);
  o.gc_keep_tapes = false;
  const MemoryPlan without = plan_training(o, Device::cpu);
  EXPECT_GT(with.tape_room, with.chunk);
  EXPECT_GT(with.tapes, 0);
  EXPECT_EQ(with.peak, without.peak + with.tapes);
  EXPECT_EQ(without.tape_room, 0);
  EXPECT_EQ(without.tapes, 0);
  EXPECT_NE(with.table().find("histories of chunks, kept (in at most "), std::string::npos);
  EXPECT_EQ(without.table().find("histories of chunks"), std::string::npos);
}

// All targets are read with the first queries, and the next batch, which counts like this one.
TEST_F(Plan, CountsWhatIsReadAhead) {
  TrainOptions o = options("a");
  o.max_steps = 1, o.per_device_train_batch_size = 24;
  const int64_t last = plan_training(o, Device::cpu).peak;
  o.max_steps = 2;
  const int64_t peak = plan_training(o, Device::cpu).peak;
  const auto encoder = load_encoder(folder_ / "model");
  int64_t bytes = 0;
  for (const char* set : {"A", "B"}) {
    const auto rows = read_train_rows(folder_ / "data" / set / "original.jsonl");
    for (size_t i = 0; i < rows.size(); ++i)
      for (const Side& side : {rows[i].query, rows[i].positives[0]}) {
        const EncoderInput input = encoder_input(side, encoder->image_token(), folder_ / "data");
        TokenBatch batch = encoder->prepare({&input, 1});
        for (const Tensor* x : batch.tensors()) bytes += x->bytes();
      }
  }
  EXPECT_GT(bytes, 24 * 16 * 16 * 3 * 4);
  // cu_seqlens and the like have one number more than rows, and here each row is a batch.
  EXPECT_NEAR(double(peak - last), double(bytes), 24 * 2 * 8 * 4);
}

TEST_F(Plan, LeavesNothingBehind) {
  const int64_t before = memory_statistics().live_bytes;
  const TrainOptions o = options("a");
  train(o, Device::cpu, true);
  plan_training(options("b"), Device::cpu);
  EXPECT_EQ(memory_statistics().live_bytes, before);
  EXPECT_FALSE(DryRun::on());
  train(options("c"), Device::cpu, true);
  EXPECT_EQ(file("a/model.safetensors"), file("c/model.safetensors"));
}

TEST_F(Plan, TooLittleMemoryIsSaidWithTheCure) {
  TrainOptions o = options("a");
  const MemoryPlan plan = plan_training(o, Device::cpu);
  EXPECT_EQ(plan.pictures, 24 * 16 * 16 * 3);
  const int64_t needed = plan.total();
  EXPECT_EQ(plan.require({needed, needed}, o), "");
  const int64_t rest = needed - plan.chunk, row = plan.chunk / plan.chunk_rows;
  const auto refused = [&](const std::string& message, int64_t total) {
    expect_error(Exit::resources, message, [&] { plan.require({total, total}, o); });
    const std::string note = plan.require({needed, total}, o);
    EXPECT_TRUE(has(note, "are free now; close other programs, or " + message)) << note;
  };
  refused("lower --gc_q_chunk_size and --gc_p_chunk_size to 3, or less", rest + 3 * row);
  refused("lower --resize_max_pixels or --max_len", rest + row / 2);
  refused("train adapters with --lora True", rest / 2);
  o.lora = true;
  refused("use a smaller model", rest / 2);
  o.gc_tokens = 1000;
  refused("lower --gc_tokens to 500, or less (the largest chunk takes ", rest + (plan.chunk + 1) / 2);
}

// Weights, gradients, moments and activations lie on the GPU; the rows that are read ahead do not.
TEST_F(Plan, OfAGpuDividesTheTensors) {
  TrainOptions o = lora("a");
  o.gc_keep_tapes = false;  // there is no card here, so none with room
  const MemoryPlan gpu = plan_training(o, Device::cuda), emu = plan_training(o, Device::emu);
  ASSERT_TRUE(gpu.card);
  EXPECT_FALSE(emu.card);
  EXPECT_EQ(gpu.peak, emu.peak);
  EXPECT_GT(gpu.card_tensors, gpu.weights + gpu.masters + gpu.gradients + gpu.optimiser + gpu.chunk / 2);
  EXPECT_GE(gpu.host_tensors, gpu.ahead);
  EXPECT_GT(gpu.ahead, 0);
  EXPECT_LT(gpu.host_tensors, 4 * gpu.ahead);
  EXPECT_LE(gpu.peak, gpu.card_tensors + gpu.host_tensors);
  EXPECT_EQ(gpu.total(), gpu.host_tensors + gpu.pictures + gpu.rows + gpu.work_space);
  EXPECT_EQ(emu.total(), emu.peak + emu.pictures + emu.rows + emu.work_space);
}

TEST(PlanOfAGpu, IsComparedWithItsMemory) {
  constexpr int64_t GB = 1'000'000'000;
  const HostMemory host{64 * GB, 64 * GB};
  TrainOptions o;
  MemoryPlan plan;
  plan.masters = 3 * GB, plan.gradients = 3 * GB, plan.optimiser = 6 * GB, plan.chunk = 48 * GB, plan.chunk_rows = 64;
  plan.card_tensors = 60 * GB, plan.peak = 61 * GB, plan.host_tensors = 1 * GB;
  EXPECT_EQ(plan.card_total(), 60 * GB + (256 << 20));
  const auto refused = [&](const std::string& message, const CardMemory& card) {
    plan.card = card;
    expect_error(Exit::resources, message, [&] { plan.require(host, o); });
  };
  plan.card = {"NVIDIA H100", 80 * GB, GB / 2};
  EXPECT_EQ(plan.require(host, o), "");
  EXPECT_TRUE(has(plan.table(), "  total on the GPU (79.5 GB are free) ")) << plan.table();
  EXPECT_TRUE(has(plan.table(), " 60.3 GB\n")) << plan.table();
  const Json json = Json::parse(plan.json());
  EXPECT_EQ(json.at("card"), "NVIDIA H100");
  EXPECT_EQ(json.at("card_predicted"), plan.card_total());
  EXPECT_EQ(json.at("card_available"), 80 * GB - GB / 2);
  EXPECT_EQ(json.at("card_total"), 80 * GB);
  refused(
      "train: the run would take 60.3 GB of the GPU's memory, but the NVIDIA H100 has 80.0 GB, of which 30.0 GB are "
      "taken; end other programs on it (nvidia-smi lists them), or lower --gc_q_chunk_size and --gc_p_chunk_size to "
      "50, or less (the largest chunk of 64 rows takes 48.0 GB)",
      {"NVIDIA H100", 80 * GB, 30 * GB});
  const CardMemory small{"RTX 4090", 24 * GB, GB / 2};
  refused("the RTX 4090 has 24.0 GB, of which 500.0 MB are taken; lower --gc_q_chunk_size and --gc_p_chunk_size to 14",
          small);
  plan.card_tensors = 100 * GB;
  refused("are taken; train adapters with --lora True", small);
  o.lora = true;
  refused("are taken; use a smaller model", small);
  plan.card->total = 200 * GB;
  EXPECT_TRUE(has(plan.require({64 * GB, 0}, o), "the run will take 1.0 GB of memory, but only 0 B are free now"));
  plan.card.reset();
  EXPECT_EQ(plan.require(host, o), "");  // 61 GB
  EXPECT_FALSE(has(plan.table(), "GPU"));
}

TEST(PlanTable, HoldsNumbersOfAnyLength) {
  for (const int64_t bytes : {int64_t(7), int64_t(92'400), int64_t(123'456'789), int64_t(999'900'000'000)}) {
    MemoryPlan plan;
    plan.weights = plan.kept = plan.chunk = plan.pictures = plan.mapped = bytes;
    const std::string table = plan.table();
    EXPECT_TRUE(has(table, "  chunks kept between the passes (at most 536.9 MB) ")) << table;
    EXPECT_TRUE(has(table, " " + in_bytes(bytes) + "\n")) << table;
  }
}

// It looks at 516 rows at first; the run will decode the pictures of 600, or of all 640.
TEST_F(Plan, CountsThePicturesOfAllRows) {
  write_rows(folder_.path() / "many", 320);
  for (int i = 0; i < 640; ++i) {  // all different: equal ones are kept once
    Image picture = plain_image(16, 16, 100);
    picture.pixels[0] = uint8_t(i), picture.pixels[1] = uint8_t(i / 256);
    write_png(folder_.path() / "many/images" / sentence("AB"[i % 2], i / 2, ".png"), picture);
  }
  TrainOptions o = options("a");
  o.dataset_name = folder_.path() / "many";
  for (const auto& [steps, pictures] : {std::pair(100, 600), std::pair(1000, 640)}) {
    o.max_steps = steps;
    const MemoryPlan plan = plan_training(o, Device::cpu);
    EXPECT_NEAR(double(plan.pictures), double(pictures * 16 * 16 * 3), 1000);
    EXPECT_GT(plan.rows, 640 * 20);
    EXPECT_LT(plan.rows, 640 * 200);
    EXPECT_EQ(plan.total(), plan.peak + plan.pictures + plan.rows + plan.work_space);
  }
}

// Embeddings of 137 GB, in a file that is all holes.
TEST_F(Plan, ARunThatCannotFitIsRefusedBeforeItBegins) {
  const fs::path model = folder_.path() / "model";
  const int64_t hidden = 2048, vocabulary = int64_t(1) << 24, bytes = 4 * hidden * vocabulary;
  if (host_memory().total > 4 * bytes) GTEST_SKIP() << "this machine has the memory";
  write_tiny_model(model, hidden);
  json config = read_json(model / "config.json"), index;
  config["vocab_size"] = vocabulary;
  write_json(model / "config.json", config);
  NamedTensors rest = load_checkpoint(model);
  rest.erase("model.embed_tokens.weight");
  for (const auto& [name, tensor] : rest) index["weight_map"][name] = "rest.safetensors";
  index["weight_map"]["model.embed_tokens.weight"] = "embeddings.safetensors";
  save_safetensors(model / "rest.safetensors", rest);
  fs::remove(model / "model.safetensors");
  write_json(model / "model.safetensors.index.json", index);
  const std::string header = json{{"model.embed_tokens.weight",
                                   {{"dtype", "F32"}, {"shape", {vocabulary, hidden}}, {"data_offsets", {0, bytes}}}}}
                                 .dump();
  const uint64_t size = header.size();
  write_text(model / "embeddings.safetensors", std::string(reinterpret_cast<const char*>(&size), 8) + header);
  fs::resize_file(model / "embeddings.safetensors", 8 + size + uint64_t(bytes));
  expect_error(Exit::resources, "train adapters with --lora True", [&] { train(options("out"), Device::cpu, true); });
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(Plan, OfAResumedRunIsOfItsCheckpoint) {
  TrainOptions o = options("run");
  o.save_steps = 5;
  MemoryPlan plan = plan_training(o, Device::cpu);
  train(o, Device::cpu, true);
  fs::remove_all(folder_.path() / "model");  // a whole model goes on without the one it began with
  fs::remove(folder_.path() / "run/training_state.json");
  o.resume_from = "auto";
  const TrainResult result = train(o, Device::cpu, true);
  EXPECT_EQ(result.steps, 2);
  plan.peak = result.planned_peak_bytes;
  expect_near(plan, result.peak_bytes, "resumed");
}

int64_t resident_peak() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:" && status >> word) return std::stoll(word) << 10;
  return 0;
}

// Patches of the 24 pictures, as f32, would be 48 MB; the pictures themselves are 12.
TEST_F(Plan, TakesLittleMemoryItself) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  for (const char* set : {"A", "B"})
    for (int i = 0; i < 12; ++i)
      write_png(folder_.path() / ("data/images/" + (set + std::to_string(i)) + ".png"), plain_image(410, 410, 9));
  TrainOptions o = options("run");
  o.per_device_train_batch_size = 24, o.resize_max_pixels = 410 * 410;
  plan_training(options("small"), Device::cpu);
  std::ofstream peak("/proc/self/clear_refs");
  peak << 5 << std::flush;  // the peak is what it is now
  const int64_t before = resident_peak();
  if (!peak || before == 0) GTEST_SKIP() << "this system does not say how much memory was resident";
  const MemoryPlan plan = plan_training(o, Device::cpu);
  EXPECT_GT(plan.peak, int64_t(200) << 20);
  EXPECT_LT(resident_peak() - before, int64_t(45) << 20);
}

TEST(HostMemory, is_some) {
  EXPECT_GT(host_memory().available, int64_t(10) << 20);
  EXPECT_LE(host_memory().available, host_memory().total);
  EXPECT_LT(host_memory().total, int64_t(1) << 50);
  EXPECT_EQ(in_bytes(999), "999 B");
  EXPECT_EQ(in_bytes(1500), "1.5 kB");
  EXPECT_EQ(in_bytes(999'960), "1.0 MB");
  EXPECT_EQ(in_bytes(123'400'000'000), "123.4 GB");
}

TEST(HostMemory, IsLimitedByTheGroupAndThoseAboveIt) {
  const TemporaryFolder root("memory");
  const auto write = [&](const std::string& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    write_text(root / file, text);
  };
  const auto expect = [&](int64_t total, int64_t available) {
    EXPECT_EQ(host_memory(root.path()).total, total);
    EXPECT_EQ(host_memory(root.path()).available, available);
  };
  expect(INT64_MAX, INT64_MAX);  // nothing is known
  write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 50 kB\nSwapTotal: 20 kB\nSwapFree: 10 kB\n");
  expect(120 << 10, 60 << 10);
  write("proc/self/cgroup", "4:memory:/x\n0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.max", "40000\n");
  write("sys/fs/cgroup/a/memory.current", "30000\n");
  expect(40000, 10000);
  write("sys/fs/cgroup/a/memory.stat", "anon 9000\nactive_file 6000\ninactive_file 14000\nslab 5\n");
  expect(40000, 30000);  // what is kept of files makes room
  write("sys/fs/cgroup/memory.max", "20000\n");
  expect(20000, 20000);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.current", "25000\n");
  expect(20000, -5000);
}

TEST_F(Cli, PlanPrintsAndTrainsNothing) {
  make_model();
  const std::string command =
      "train --model_name model --dataset_name train --output_dir out --per_device_train_batch_size 4 --max_steps 1";
  const Result table = run(command + " --plan");
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_TRUE(has(table.out, "predicted peak")) << table.out;
  const Result json = run(command + " --plan --json");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const Result trained = run(command + " --json --quiet");
  EXPECT_EQ(Json::parse(json.out).at("predicted_peak"), Json::parse(trained.out).at("planned_peak_bytes"));
  EXPECT_EQ(Json::parse(json.out).at("predicted_peak"), Json::parse(trained.out).at("peak_bytes"));
}

}  // namespace
}  // namespace vlm2vec
