// What `train --plan` predicts is what the process takes: the most memory that was resident, of five kinds of runs
// whose batches change their length from step to step.
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "cli_fixture.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

constexpr int64_t kMega = 1'000'000;

// Bytes that were resident at most, of the program run with these arguments, as the system counts them when it ends
// (VmHWM). 0: nobody may trace it here.
int64_t resident_peak_of(const fs::path& folder, const std::string& arguments) {
  const std::string line = "cd '" + folder.string() + "' && exec '" PROGRAM "' " + arguments + " >out 2>err";
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  int64_t peak = 0;
  int status = 0;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    if (status >> 16 == PTRACE_EVENT_EXIT) {
      std::ifstream file("/proc/" + std::to_string(child) + "/status");
      for (std::string word; file >> word;)
        if (word == "VmHWM:" && file >> peak) break;
    }
    ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACEEXIT);
    ptrace(PTRACE_CONT, child, nullptr, nullptr);
  }
  EXPECT_TRUE(status == 0 || peak == 0) << read_text(folder / "err");
  return peak << 10;
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
    if (program == 0) GTEST_SKIP() << "programs may not be traced here";
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
  expect_prediction("--per_device_train_batch_size 128 --lora True --gc_q_chunk_size 16 --gc_p_chunk_size 16");
}
TEST_F(ProcessMemory, of_gradient_checkpointing) {
  expect_prediction("--per_device_train_batch_size 256 --gradient_checkpointing True");
}

}  // namespace
}  // namespace vlm2vec
