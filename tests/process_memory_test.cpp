// What `train --plan` predicts is what the process takes: the most memory that was resident, of five kinds of runs
// whose batches change their length from step to step.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "cli_fixture.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

constexpr int64_t kMega = 1'000'000;

// Bytes that were resident at most, of the program run with these arguments, as the system counts them when it ends.
// That number begins with what the caller of exec had: so it is a shell that starts the program and leaves it to us.
int64_t resident_peak_of(const fs::path& folder, const std::string& arguments) {
  const std::string line =
      "cd '" + folder.string() + "' && { '" PROGRAM "' " + arguments + " >out 2>err & echo $! >pid; }";
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  EXPECT_EQ(std::system(line.c_str()), 0) << line;
  const pid_t program = std::stoi(read_text(folder / "pid"));
  int status = 0;
  rusage usage{};
  EXPECT_EQ(wait4(program, &status, 0, &usage), program) << "the program was not left to this process";
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  EXPECT_EQ(status, 0) << read_text(folder / "err");
  EXPECT_GT(usage.ru_maxrss, 0) << "the system does not count what is resident";
  return int64_t(usage.ru_maxrss) << 10;
}

class ProcessMemory : public testing::Test {
 protected:
  // Sets of short, middling and long rows; a batch is of one set.
  ProcessMemory() : folder_("process-memory") {
    write_tiny_model(folder_ / "model", 64);
    fs::create_directories(folder_ / "data/images");
    for (int i = 0; i < 8; ++i)
      write_png(folder_ / "data/images" / (std::to_string(i) + ".png"), plain_image(8 * (i + 1), 16, uint8_t(20 * i)));
    for (const int words : {4, 9, 14, 18}) {
      std::string rows;
      for (int i = 0; i < 600; ++i) {
        std::string text = std::to_string(i);
        for (int word = 0; word < words; ++word) text += word % 2 ? " red dog" : " what is";
        rows += Json{{"qry", "<|image_1|>\n" + text},
                     {"qry_image_path", "images/" + std::to_string(i % 8) + ".png"},
                     {"pos_text", text},
                     {"pos_image_path", ""}}
                    .dump() +
                "\n";
      }
      const fs::path set = folder_ / "data" / ("Words" + std::to_string(words));
      fs::create_directories(set);
      write_text(set / "original.jsonl", rows);
    }
  }

  void expect_prediction(const std::string& options) const {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "sanitizers take memory of their own";
#endif
    const std::string command =
        "train --model_name model --dataset_name data --output_dir run --max_steps 8 --sampling interleaved "
        "--homogeneous_batch_size_per_device 1 --threads 2 --json " +
        options;
    const int64_t program = resident_peak_of(folder_.path(), "version");
    resident_peak_of(folder_.path(), command + " --plan");
    const Json plan = Json::parse(read_text(folder_ / "out"));
    const int64_t predicted = plan.at("predicted_total"), mapped = plan.at("mapped_weights");
    const int64_t taken = resident_peak_of(folder_.path(), command) - mapped - program;
    const Json result = Json::parse(read_text(folder_ / "out"));
    const double tensors = plan.at("predicted_peak"), held = result.at("held_bytes");
    EXPECT_EQ(result.at("planned_peak_bytes"), tensors);
    EXPECT_GE(held, result.at("peak_bytes"));
    EXPECT_LE(held, 1.03 * tensors + 5 * kMega);
    EXPECT_LE(double(taken), 1.03 * double(predicted) + 20 * kMega) << "planned: " << plan;
    EXPECT_LE(double(predicted), 1.03 * double(taken) + 20 * kMega) << "planned: " << plan;
    EXPECT_GE(double(taken), 0.9 * tensors) << "planned: " << plan;
  }

  TemporaryFolder folder_;
};

TEST_F(ProcessMemory, of_a_full_run) { expect_prediction("--per_device_train_batch_size 256"); }
TEST_F(ProcessMemory, of_a_full_run_in_chunks) {
  expect_prediction("--per_device_train_batch_size 256 --gc_q_chunk_size 64 --gc_p_chunk_size 64");
}
TEST_F(ProcessMemory, of_adapters) {
  expect_prediction("--per_device_train_batch_size 256 --lora True --use_dora False");
}
TEST_F(ProcessMemory, of_dora_in_small_chunks) {
  expect_prediction("--per_device_train_batch_size 128 --lora True --gc_q_chunk_size 16 --gc_p_chunk_size 16 "
                    "--gc_keep_tapes False");
}
TEST_F(ProcessMemory, of_gradient_checkpointing) {
  expect_prediction("--per_device_train_batch_size 256 --gradient_checkpointing True");
}

}  // namespace
}  // namespace vlm2vec
