// Command lines of the official scripts: what is taken, what is refused, what is said; and the recipes in examples/.
#include "cli/official_options.h"

#include <cstdlib>

#include "cli_fixture.h"
#include "expect_error.h"
#include "shell.h"

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
  for (const char* name : {"--gradient_checkpointing", "--activation_checkpointing", "--activation-checkpointing=True"})
    EXPECT_TRUE(parse<TrainOptions>("train", {name}, said).gradient_checkpointing) << name;
  EXPECT_EQ(parse<TrainOptions>("train", split("--warmup_steps 0.1"), said).warmup_steps, 0.1);
  EXPECT_EQ(parse<EvalOptions>("eval", split("--checkpoint_path a --dataset_split test"), said).adapter, "a");
  EXPECT_EQ(said, "");
}

TEST(OfficialOptions, without_meaning_are_said_in_one_line_each) {
  const std::pair<const char*, const char*> cases[] = {
      {"--ddp_timeout 1800", "train: --ddp_timeout has no meaning here: the program runs as one process\n"},
      {"--local_rank", "train: --local_rank has no meaning here: the program runs as one process\n"},
      {"--dataloader-num-workers=8 --lora", "--dataloader_num_workers has no meaning here: rows are prepared"},
      {"--remove_unused_columns False", "--remove_unused_columns has no meaning"},
      {"--save_safetensors False", "always saved as safetensors"},
      {"--project_name p", "nothing is sent over a network"},
      {"--label_names a b c", "--label_names has no meaning here"},
      {"--use_cpu", "train: --use_cpu has no meaning here: --device chooses the device\n"},
      {"--use_cpu False", "--use_cpu has no meaning here"},
      {"--activation_checkpointing_kwargs {}", "activations are always computed again exactly"},
      {"--enable_jit_checkpoint True", "SIGTERM and SIGHUP always save a checkpoint"},
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
      {"--model_backbone internvl3", "--model_backbone: got \"internvl3\", expected qwen2_vl or qwen2_5_vl"},
      {"--fp16", "--fp16: got \"true\", expected false; "},
      {"--deepspeed ds.json", "--deepspeed: got \"ds.json\"; the program runs as one process"},
      {"--fsdp full_shard auto_wrap", "the program runs as one process"},
      {"--bf16 maybe", "--bf16: got \"maybe\", expected True or False"},
      {"--grad_cache False --gc_p_chunk_size 2", "which turn GradCache on"},
      {"--resume_from_checkpoint o/checkpoint-20", "--resume_from 20"},
      {"--model_name m --processor_name p", "the processor comes from --model_name"},
      {"--resize_use_processor False", "expected true, because --image_resolution is not given"},
      {"--image_resolution low --resize_use_processor", "expected false, because --image_resolution is given"},
      {"--optim adafactor", "the optimiser is AdamW"},
      {"--train_sampling_strategy sequential", "--train_sampling_strategy: got \"sequential\", expected random; "},
      {"--label_smoothing_factor 0.1", "InfoNCE is not smoothed"},
      {"--ddp_timeoutt 3", "no option --ddp_timeoutt; see vlm2vec train --help"},
  };
  std::string said;
  for (const auto& [line, message] : cases)
    expect_error(Exit::usage, message, [&] { parse<TrainOptions>("train", split(line), said); });
}

// Every field of TrainingArguments in transformers 4.52.3 and 5.23.0 that can be given on a command line is an option,
// or has one answer.
TEST(OfficialOptions, know_every_argument_of_the_trainer) {
  std::string said;
  testing::internal::CaptureStdout();
  parse<TrainOptions>("train", {"--help", "all"}, said);
  const std::string page = testing::internal::GetCapturedStdout();
  const size_t foreign = page.find("change the result:\n");  // behind it "name, name (--option), …"
  ASSERT_NE(foreign, page.npos) << page;
  std::set<std::string> known{"tf32"};  // of --device
  for (const std::string& word : split(page.substr(0, foreign)))
    if (word.starts_with("--")) known.insert(word.substr(2));
  for (const std::string& word : split(page.substr(foreign, page.find("\nExample:") - foreign)))
    known.insert(word.substr(0, word.find(',')));
  EXPECT_FALSE(known.contains("ddp_timeoutt"));
  for (
      const std::string& name : split(
          "accelerator_config activation_checkpointing activation_checkpointing_kwargs adafactor adam_beta1 adam_beta2 "
          "adam_epsilon auto_find_batch_size average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval "
          "data_seed dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context "
          "dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor "
          "ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout "
          "debug deepspeed disable_tqdm do_eval do_predict do_train enable_jit_checkpoint eval_accumulation_steps "
          "eval_delay eval_do_concat_batches eval_on_start eval_steps eval_strategy eval_use_gather_object fp16 "
          "fp16_backend fp16_full_eval fp16_opt_level fsdp fsdp_config fsdp_min_num_params "
          "fsdp_transformer_layer_cls_to_wrap full_determinism gradient_accumulation_steps gradient_checkpointing "
          "gradient_checkpointing_kwargs greater_is_better group_by_length half_precision_backend hub_always_push "
          "hub_model_id hub_private_repo hub_revision hub_strategy hub_token ignore_data_skip include_for_metrics "
          "include_inputs_for_metrics include_num_input_tokens_seen include_tokens_per_second jit_mode_eval "
          "label_names "
          "label_smoothing_factor learning_rate length_column_name liger_kernel_config load_best_model_at_end "
          "local_rank "
          "log_level log_level_replica log_on_each_node logging_dir logging_first_step logging_nan_inf_filter "
          "logging_steps logging_strategy lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_steps "
          "metric_for_best_model mp_parameters neftune_noise_alpha no_cuda num_train_epochs optim optim_args "
          "optim_target_modules output_dir overwrite_output_dir parallelism_config past_index "
          "per_device_eval_batch_size per_device_train_batch_size per_gpu_eval_batch_size per_gpu_train_batch_size "
          "prediction_loss_only project push_to_hub push_to_hub_model_id push_to_hub_organization push_to_hub_token "
          "ray_scope remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint "
          "run_name save_on_each_node save_only_model save_safetensors save_steps save_strategy save_total_limit seed "
          "skip_memory_metrics tf32 torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps "
          "torchdynamo tpu_metrics_debug tpu_num_cores trackio_bucket_id trackio_space_id trackio_static_space_id "
          "train_sampling_strategy use_cache use_cpu use_ipex use_legacy_prediction_loop use_liger_kernel "
          "use_mps_device warmup_ratio warmup_steps weight_decay"))
    EXPECT_TRUE(known.contains(name)) << name << " is not in\n" << page;
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
  int code = 0;
  Arguments words = split(output_of(line, &code));
  EXPECT_EQ(code, 0);
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
  EXPECT_EQ(std::pair(o.max_steps, o.warmup_steps), std::pair(int64_t(2000), 100.0));
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
  EXPECT_EQ(std::pair(o.max_steps, o.warmup_steps), std::pair(int64_t(5000), 100.0));
  EXPECT_EQ(o.gc_q_chunk_size, 8);
  EXPECT_EQ(std::pair(o.resize_min_pixels, o.resize_max_pixels), std::pair(int64_t(3136), int64_t(1003520)));
}

}  // namespace
}  // namespace vlm2vec
