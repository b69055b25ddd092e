// Command lines of the official scripts: what is taken, what is refused, what is said; and the recipes in examples/.
#include "cli/official_options.h"

#include <cstdlib>

#include "cli_fixture.h"
#include "expect_error.h"

namespace vlm2vec {
namespace {

Arguments split(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

// Options as the command would have them; what was said goes to `said`.
template <class Options>
Options parse(const std::string& command, const Arguments& arguments, std::string& said) {
  Options options;
  bool quiet = false;
  CommandLine line(command, "Purpose.", "example");
  options.fields(line);
  line.quiet(quiet);
  official_options(line, options);
  testing::internal::CaptureStderr();
  try {
    line.parse(arguments);
  } catch (...) {
    testing::internal::GetCapturedStderr();
    throw;
  }
  said = testing::internal::GetCapturedStderr();
  return options;
}

TEST(OfficialOptions, that_agree_are_taken_in_silence) {
  std::string said;
  for (const char* line :
       {"--pooling last", "--pooling eos", "--normalize True", "--normalize", "--normalize=true",
        "--model_backbone qwen2_vl", "--fp16 False", "--grad_cache True", "--grad_cache True --gc_q_chunk_size 4",
        "--grad_cache False", "--model_name m --processor_name m", "--resize_use_processor True", "--optim adamw_torch",
        "--image_resolution high --resize_use_processor false", "--dataloader-drop-last False"}) {
    EXPECT_NO_THROW(parse<TrainOptions>("train", split(line), said)) << line;
    EXPECT_EQ(said, "") << line;
  }
  EXPECT_EQ(parse<TrainOptions>("train", split("--bf16 True"), said).precision, "bf16");
  EXPECT_EQ(parse<TrainOptions>("train", split("--bf16 --lora"), said).precision, "bf16");
  EXPECT_EQ(parse<TrainOptions>("train", split("--bf16=False"), said).precision, "f32");
  EXPECT_EQ(parse<EvalOptions>("eval", split("--checkpoint_path a --dataset_split test"), said).adapter, "a");
  EXPECT_EQ(said, "");
}

TEST(OfficialOptions, without_meaning_are_said_in_one_line_each) {
  const std::pair<const char*, const char*> cases[] = {
      {"--ddp_timeout 1800", "train: --ddp_timeout has no meaning here: there is one process\n"},
      {"--local_rank", "train: --local_rank has no meaning here: there is one process\n"},
      {"--dataloader-num-workers=8 --lora", "--dataloader_num_workers has no meaning here: rows are prepared"},
      {"--remove_unused_columns False", "--remove_unused_columns has no meaning"},
      {"--save_safetensors False", "always saved as safetensors"},
      {"--project_name p", "nothing is sent over a network"},
      {"--num_crops 4", "Qwen2-VL has no crops"},
      {"--label_names a b c", "--label_names has no meaning here"},
  };
  std::string said;
  for (const auto& [line, message] : cases) {
    parse<TrainOptions>("train", split(line), said);
    EXPECT_TRUE(has(said, message)) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    parse<TrainOptions>("train", split(std::string(line) + " --quiet"), said);
    EXPECT_EQ(said, "") << line;
  }
  parse<EvalOptions>("eval", split("--lora --temperature 0.02 --output_dir x"), said);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 3) << said;
}

TEST(OfficialOptions, that_would_change_the_result_are_refused) {
  const std::pair<const char*, const char*> cases[] = {
      {"--pooling mean", "--pooling: got \"mean\", expected last or eos; "},
      {"--normalize False", "--normalize: got \"False\", expected true; "},
      {"--model_backbone phi3_v", "--model_backbone: got \"phi3_v\", expected qwen2_vl; "},
      {"--fp16", "--fp16: got \"true\", expected false; "},
      {"--deepspeed ds.json", "--deepspeed: got \"ds.json\"; there is one process"},
      {"--fsdp full_shard auto_wrap", "there is one process"},
      {"--bf16 maybe", "--bf16: got \"maybe\", expected True or False"},
      {"--grad_cache False --gc_p_chunk_size 2", "which turn GradCache on"},
      {"--resume_from_checkpoint o/checkpoint-20", "--resume_from 20"},
      {"--model_name m --processor_name p", "the processor is that of --model_name"},
      {"--resize_use_processor False", "expected true, because --image_resolution is not given"},
      {"--image_resolution low --resize_use_processor", "expected false, because --image_resolution is given"},
      {"--optim adafactor", "the optimiser is AdamW"},
      {"--label_smoothing_factor 0.1", "InfoNCE is not smoothed"},
      {"--ddp_timeoutt 3", "no option --ddp_timeoutt; see vlm2vec train --help"},
  };
  std::string said;
  for (const auto& [line, message] : cases)
    expect_error(Exit::usage, message, [&] { parse<TrainOptions>("train", split(line), said); });
}

TEST_F(Cli, OfficialOptionsOfACommandAreInItsHelpOnce) {
  const std::string help = run("train --help").out, all = run("train --help all").out;
  EXPECT_TRUE(has(help, "--help all") && !has(help, "ddp_timeout"));
  EXPECT_TRUE(has(all, "bf16 (--precision)") && has(all, "ddp_timeout,"));
  EXPECT_FALSE(has(all, "--ddp_timeout"));
  EXPECT_TRUE(has(run("eval --help all").out, "checkpoint_path (--adapter)"));
  EXPECT_FALSE(has(run("embed --help").out, "--help all")) << "it takes no other names";
  EXPECT_TRUE(has(run("train --model_name x --output_dir y --dataset_name z --report_to wandb").err,
                  "train: --report_to wandb has no meaning here"));
}

TEST(CommandLine, the_last_of_equal_options_counts) {
  std::string said;
  TrainOptions o = parse<TrainOptions>("train", split("--max_steps 1 --lora True --max-steps=2 --lora False"), said);
  EXPECT_EQ(std::pair(o.max_steps, o.lora), std::pair(int64_t(2), false));
  o = parse<TrainOptions>("train", split("--subset_name A B --lora --subset_name C"), said);
  EXPECT_EQ(o.subset_name, Arguments{"C"});
  EXPECT_TRUE(o.lora);
  EXPECT_EQ(parse<TrainOptions>("train", split("--bf16 True --precision f32"), said).precision, "f32");
  EXPECT_EQ(parse<TrainOptions>("train", split("--precision f32 --bf16"), said).precision, "bf16");
  EXPECT_EQ(parse<TrainOptions>("train", split("--pooling mean --pooling last --seed 7"), said).seed, 7u);
  EXPECT_EQ(said, "");
  std::vector<std::string> pictures;
  CommandLine line("explain", "Purpose.", "example");
  line("image", pictures, "pictures");
  line.collect({"image"});
  line.parse({"--image", "a", "b", "--image=c"});
  EXPECT_EQ(pictures, (Arguments{"a", "b", "c"}));
}

// The command line of a recipe in examples/, as the shell makes it.
Arguments recipe(const std::string& name, const std::string& more = "") {
  const std::string line =
      "MODEL=m TRAIN=t IMAGES=i OUTPUT=o VLM2VEC=echo bash '" SOURCE_DIR "/examples/" + name + "' " + more;
  FILE* pipe = popen(line.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0);
  Arguments words = split(text);
  EXPECT_EQ(words.at(0), "train");
  words.erase(words.begin());
  return words;
}

void expect_published(const TrainOptions& o) {
  EXPECT_EQ(o.per_device_train_batch_size * o.gradient_accumulation_steps, 1024);
  EXPECT_EQ(o.temperature, 0.02);
  EXPECT_TRUE(o.lora && o.use_dora);
  EXPECT_EQ(o.lora_alpha, 64);
  EXPECT_EQ(o.lora_dropout, 0.1);
  EXPECT_EQ(o.lr_scheduler_type, "linear");
  EXPECT_EQ(o.precision, "bf16");
  EXPECT_EQ(o.gc_q_chunk_size, o.gc_p_chunk_size);
}

TEST(Recipes, v1_has_the_published_values) {
  std::string said;
  const TrainOptions o = parse<TrainOptions>("train", recipe("vlm2vec-v1-qwen2vl-2b.sh"), said);
  EXPECT_EQ(said, "");
  expect_published(o);
  EXPECT_EQ(o.subset_name.size(), 20u);
  EXPECT_EQ(o.lora_r, 8);
  EXPECT_EQ(o.learning_rate, 2e-5);
  EXPECT_EQ(std::pair(o.max_steps, o.warmup_steps), std::pair(int64_t(2000), int64_t(100)));
  EXPECT_EQ(o.gc_q_chunk_size, 4);
  EXPECT_EQ(std::pair(o.max_len, o.num_sample_per_subset), std::pair(int64_t(4096), int64_t(100000)));
  EXPECT_EQ(o.image_resolution, "high");
  EXPECT_EQ(o.lora_target_modules.size(), 8u);
}

TEST(Recipes, take_other_values) {
  std::string said;
  for (const char* name : {"vlm2vec-v1-qwen2vl-2b.sh", "vlm2vec-v2-qwen2vl-2b.sh"}) {
    const Arguments words = recipe(name, "--max_steps 3 --lora_target_modules q_proj --output_dir mine --bf16 False");
    const TrainOptions o = parse<TrainOptions>("train", words, said);
    EXPECT_EQ(said, "");
    EXPECT_EQ(std::pair(o.max_steps, o.output_dir), std::pair(int64_t(3), std::string("mine")));
    EXPECT_EQ(std::pair(o.lora_target_modules, o.precision), std::pair(Arguments{"q_proj"}, std::string("f32")));
  }
}

TEST(Recipes, v2_has_the_published_values) {
  const Arguments words = recipe("vlm2vec-v2-qwen2vl-2b.sh");
  std::string said;
  TrainOptions o;
  o = parse<TrainOptions>("train", words, said);
  EXPECT_EQ(said, "");
  expect_published(o);
  EXPECT_EQ(o.lora_r, 16);
  EXPECT_EQ(o.learning_rate, 5e-5);
  EXPECT_EQ(std::pair(o.max_steps, o.warmup_steps), std::pair(int64_t(5000), int64_t(100)));
  EXPECT_EQ(o.gc_q_chunk_size, 8);
  EXPECT_EQ(std::pair(o.resize_min_pixels, o.resize_max_pixels), std::pair(int64_t(3136), int64_t(1003520)));
}

}  // namespace
}  // namespace vlm2vec
