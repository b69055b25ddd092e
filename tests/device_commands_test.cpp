// The commands on devices whose memory the host cannot touch: every family trains, evaluates and embeds there as on the
// CPU. Code above kernels/ that reads or writes device memory by itself crashes on the emulator's as on a GPU's.
#include "devices.h"
#include "family_fixture.h"
#include "lines_of_json.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

using Case = std::pair<std::string, std::string>;  // family and device

class DeviceCommands : public FamilyCli, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    make_family(family_named(GetParam().first), 1024);
    write("rows.jsonl", R"({"text": "a thing"})" "\n" R"({"text": "what is this?", "image": "train/p1.png"})" "\n");
  }
  // Runs a command on both devices; {} stands for cpu or device.
  void on_both(std::string line) const {
    for (const std::string& device : {std::string("cpu"), GetParam().second}) {
      std::string one = line;
      for (size_t at; (at = one.find("{}")) != one.npos;) one.replace(at, 2, device == "cpu" ? "cpu" : "device");
      must(one + device_options(device));
    }
  }
  void expect_equal_logs(const std::string& name) const {
    const auto cpu = lines_of_json(folder_ / (name + "cpu/log.jsonl")),
               device = lines_of_json(folder_ / (name + "device/log.jsonl"));
    ASSERT_EQ(cpu.size(), device.size());
    for (size_t i = 0; i < cpu.size(); ++i)
      for (const char* field : {"loss", "grad_norm", "in_batch_accuracy"}) {
        const double want = cpu[i].at(field);
        EXPECT_NEAR(device[i].at(field).get<double>(), want, 1e-4 * std::max(1.0, want)) << name << field << i;
      }
  }
};

constexpr const char* kTrain =
    "train --model_name family --dataset_name train --max_steps 3 --per_device_train_batch_size 3 --temperature 0.1 "
    "--warmup_steps 0 ";
constexpr const char* kLora = "--lora True --lora_target_modules q_proj qkv_proj gate_proj gate_up_proj fc1 ";

TEST_P(DeviceCommands, train_as_on_the_cpu) {
  on_both(std::string(kTrain) + "--gc_q_chunk_size 2 --output_dir full{}");
  expect_equal_logs("full");
  on_both(std::string(kTrain) + kLora +
          "--use_dora False --gc_q_chunk_size 2 --gradient_checkpointing True --output_dir lora{}");
  expect_equal_logs("lora");
  on_both(std::string(kTrain) + kLora + "--use_dora True --output_dir dora{}");
  expect_equal_logs("dora");
}

TEST_P(DeviceCommands, resume_with_the_same_bits) {
  for (const std::string kind : {"", kLora})
    for (const std::string precision : {"f32", "bf16"}) {
      const std::string name = (kind.empty() ? "full_" : "lora_") + precision,
                        file = kind.empty() ? "/model.safetensors" : "/adapter_model.safetensors";
      must(kTrain + kind + "--save_steps 2 --precision " + precision + device_options(GetParam().second) +
           " --output_dir " + name);
      const std::string whole = read_text(folder_ / (name + file));
      fs::remove_all(folder_ / (name + "/checkpoint-3"));
      fs::remove(folder_ / (name + file));
      must(kTrain + kind + "--save_steps 2 --precision " + precision + device_options(GetParam().second) +
           " --output_dir " + name + " --resume_from auto");
      EXPECT_EQ(read_text(folder_ / (name + file)), whole) << name;
    }
}

TEST_P(DeviceCommands, embed_evaluate_and_explain_as_on_the_cpu) {
  on_both("embed --model_name family --input rows.jsonl --output {}.npy --prompt vlm2vec-v2");
  const auto cpu = to_vector<float>(read_npy(folder_ / "cpu.npy")),
             device = to_vector<float>(read_npy(folder_ / "device.npy"));
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(device[i], cpu[i], 2e-6) << i;
  on_both("eval --model_name family --dataset_name test --encode_output_path scores{}");
  EXPECT_EQ(read_json(folder_ / "scoresdevice/Set_score.json").at("acc"),
            read_json(folder_ / "scorescpu/Set_score.json").at("acc"));
  EXPECT_EQ(read_json(folder_ / "scorescpu/summary.json").at("device"), "cpu");
  const std::string stored = read_json(folder_ / "scoresdevice/summary.json").at("device");
  EXPECT_TRUE(stored.starts_with(GetParam().second)) << stored;  // on cuda with the card's name
  on_both("explain --model_name family --prompt vlm2vec-v2 --text 'what is this?' --image train/p1.png "
          "--target 'a thing' --heat_map {}.png --dump {}.safetensors");
  const NamedTensors stages = load_safetensors(folder_ / "cpu.safetensors"),
                     there = load_safetensors(folder_ / "device.safetensors");
  ASSERT_EQ(stages.size(), there.size());
  for (const auto& [name, value] : stages) {
    const auto want = to_vector<float>(value), got = to_vector<float>(there.at(name));
    ASSERT_EQ(want.size(), got.size()) << name;
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1e-4 * std::max(1.f, std::abs(want[i]))) << name;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Device device : kernel_devices())
    for (const Family& family : families()) all.push_back({family.model_type, name_of(device)});
  return all;
}

INSTANTIATE_TEST_SUITE_P(, DeviceCommands, testing::ValuesIn(cases()),
                         [](const auto& info) {
                           std::string name = info.param.first + "_" + info.param.second;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// What a run tells of its device: the last --device counts, results name it, and another one is said at a resume.
class DeviceOfARun : public Cli {};

TEST_F(DeviceOfARun, is_the_last_one_named_and_is_kept_with_results) {
  make_model();
  write("rows.jsonl", R"({"text": "a"})" "\n");
  const Result last = run("embed --model_name model --input rows.jsonl --output v.npy --device cuda --device cpu");
  EXPECT_EQ(last.code, 0) << last.err;
  EXPECT_EQ(read_json(folder_ / "v.npy.json").at("device"), "cpu");
  EXPECT_TRUE(has(run("embed --model_name model --input rows.jsonl --output v.npy --device ''").err,
                  "--device: got \"\", expected auto, cpu, emu or cuda"));
  const Result waits = run("embed --model_name model --input rows.jsonl --output v.npy --device auto --cublas False");
  EXPECT_EQ(waits.code, 0) << waits.err;
  const Result refused = run("embed --model_name model --input rows.jsonl --output v.npy --device emu --tf32 True");
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(has(refused.err, "--tf32 has no effect with --device emu")) << refused.err;
  const Result explained = run("explain --model_name model --text a --json --device emu");
  EXPECT_EQ(Json::parse(explained.out).at("device"), "emu") << explained.err;
}

TEST_F(DeviceOfARun, is_said_when_a_run_is_resumed_on_another) {
  make_model();
  const std::string train =
      "train --model_name model --dataset_name train --output_dir run --max_steps 2 --save_steps 1 "
      "--per_device_train_batch_size 3 --gc_q_chunk_size 2 --gc_p_chunk_size 2 --resume_from auto ";
  const Result first = run(train + "--device emu --json");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(Json::parse(first.out).at("device"), "emu");
  EXPECT_EQ(read_json(folder_ / "run/training_options.json").at("device"), "emu");
  fs::remove(folder_ / "run/model.safetensors"), fs::remove(folder_ / "run/training_state.json");
  const Result there = run(train + "--device emu"), same = run(train + "--device emu");
  EXPECT_FALSE(has(there.err, "was written on")) << there.err;
  fs::remove(folder_ / "run/model.safetensors"), fs::remove(folder_ / "run/training_state.json");
  const Result here = run(train + "--device cpu");
  EXPECT_EQ(here.code, 0) << here.err;
  EXPECT_TRUE(has(here.err, "was written on emu; on cpu the run goes on")) << here.err;
}

class DeviceSelftest : public Cli {};

TEST_F(DeviceSelftest, holds) {
  for (const Device device : kernel_devices()) {
    const Result r = run("selftest" + device_options(name_of(device)));
    EXPECT_EQ(r.code, 0) << name_of(device) << ": " << r.out << r.err;
  }
}

}  // namespace
}  // namespace vlm2vec
