#include "cli/official_options.h"

#include <algorithm>
#include <filesystem>
#include <ranges>

#include "io/error.h"
#include "io/text.h"
#include "vlm/families/family.h"

namespace vlm2vec {
namespace {

// Options without effect, whatever their value.
struct NoMeaning {
  const char *names, *reason;
};
constexpr NoMeaning kNoMeaning[] = {
    {"local_rank ddp_backend ddp_timeout ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers "
     "ddp_static_graph accelerator_config parallelism_config average_tokens_across_devices fsdp_min_num_params "
     "fsdp_transformer_layer_cls_to_wrap mp_parameters save_on_each_node tpu_num_cores ray_scope",
     "the program runs as one process"},
    {"dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor "
     "dataloader_in_order dataloader_multiprocessing_context",
     "rows are prepared on all --threads, while the model computes"},
    {"use_cpu no_cuda use_mps_device use_ipex", "--device chooses the device"},
    {"torch_compile_backend torch_compile_mode torchdynamo jit_mode_eval liger_kernel_config",
     "the kernels are this program's own"},
    {"use_cache past_index use_legacy_prediction_loop", "no text is generated"},
    {"remove_unused_columns", "rows have no unused columns"},
    {"save_safetensors", "weights are always saved as safetensors"},
    {"full_determinism", "every run is deterministic, without --deterministic False"},
    {"project_name project trackio_space_id trackio_static_space_id trackio_bucket_id hub_model_id hub_strategy "
     "hub_token hub_private_repo hub_always_push hub_revision push_to_hub_model_id push_to_hub_organization "
     "push_to_hub_token",
     "nothing is sent over a network"},
    {"image_decay_factor", "videos are not supported"},
    {"embedding_type", "the official code does not read it"},
    {"uigraph_diff uigraph_rand uimask_ratio uimask_rand lm_skip_layer vis_skip_layer",
     "token selection is not supported"},
    {"disable_tqdm log_level log_level_replica log_on_each_node", "--quiet controls the output"},
    {"bf16_full_eval fp16_full_eval fp16_backend fp16_opt_level half_precision_backend",
     "--precision sets the precision"},
};
constexpr NoMeaning kNoMeaningInTraining[] = {
    {"do_train do_eval do_predict eval_steps eval_delay per_device_eval_batch_size per_gpu_eval_batch_size "
     "eval_accumulation_steps eval_on_start eval_do_concat_batches eval_use_gather_object batch_eval_metrics "
     "include_for_metrics include_inputs_for_metrics metric_for_best_model greater_is_better",
     "train does not evaluate"},
    {"gradient_checkpointing_kwargs activation_checkpointing_kwargs", "activations are always computed again exactly"},
    {"logging_nan_inf_filter debug", "a loss that is not finite ends the run"},
    {"torch_empty_cache_steps skip_memory_metrics tpu_metrics_debug", "the program manages its memory itself"},
    {"enable_jit_checkpoint", "SIGTERM and SIGHUP always save a checkpoint"},
    {"restore_callback_states_from_checkpoint", "there are no callbacks"},
    {"include_tokens_per_second", "tokens are not counted"},
    {"label_names prediction_loss_only length_column_name", "rows have no labels"},
};
constexpr NoMeaning kNoMeaningInEvaluation[] = {
    {"lora", "the folder of --adapter says what the adapter is"},
    {"output_dir", "all files go to --encode_output_path"},
    {"temperature", "the order of candidates does not depend on it"},
};

// Options whose listed values (in lower case; perhaps none) agree with this program. All other values are refused.
struct Agreed {
  const char *name, *values, *reason;
};
constexpr Agreed kAgreed[] = {
    {"pooling", "last eos", "the embedding is the last token's state"},
    {"normalize", "true", "embeddings are unit vectors"},
    {"uigraph_use", "false", "tokens are not selected"},
    {"fp16", "false", "--precision offers f32 and bf16"},
    {"push_to_hub", "false", "nothing is sent over a network"},
    {"torch_compile", "false", "the program has nothing to compile"},
    {"use_liger_kernel", "false", "the kernels are this program's own"},
};
constexpr Agreed kAgreedInTraining[] = {
    {"checkpoint_path", "", "continue an adapter with --adapter, a checkpoint with --resume_from"},
    {"resume_from_checkpoint", "", "use --resume_from 20 for a step, --resume_from auto for the latest"},
    {"deepspeed", "", "the program runs as one process"},
    {"fsdp", "", "the program runs as one process"},
    {"fsdp_config", "", "the program runs as one process"},
    {"optim", "adamw_torch adamw_torch_fused", "the optimiser is AdamW"},
    {"adafactor", "false", "the optimiser is AdamW"},
    {"optim_target_modules", "", "the optimiser is AdamW for all trained weights"},
    {"optim_args", "", "the optimiser is AdamW, with --adam_beta1, --adam_beta2 and --adam_epsilon"},
    {"lr_scheduler_kwargs", "", "schedules have no further arguments"},
    {"label_smoothing_factor", "0 0.0", "InfoNCE is not smoothed"},
    {"neftune_noise_alpha", "", "no noise is added to embeddings"},
    {"data_seed", "", "--seed sets the order of rows"},
    {"dataloader_drop_last", "false", "--sampling determines the last batch of an epoch"},
    {"group_by_length", "false", "rows are not sorted by length"},
    {"train_sampling_strategy", "random", "--sampling sets the order of rows"},
    {"auto_find_batch_size", "false", "--per_device_train_batch_size sets the batch size; chunks save memory"},
    {"ignore_data_skip", "false", "a resumed run always continues at the next row"},
    {"save_only_model", "false", "a checkpoint can always be resumed"},
    {"logging_strategy", "steps", "progress is reported every --logging_steps"},
    {"logging_first_step", "false", "--logging_steps 1 shows every step, and log.jsonl always does"},
    {"eval_strategy", "no", "evaluate afterwards, with eval"},
    {"evaluation_strategy", "no", "evaluate afterwards, with eval"},
    {"load_best_model_at_end", "false", "train does not evaluate"},
    {"include_num_input_tokens_seen", "false", "tokens are not counted"},
};
constexpr Agreed kAgreedInEvaluation[] = {
    {"dataset_split", "test", "a test set is test.jsonl or test-*.parquet"},
};

template <size_t n>
void declare(CommandLine& line, const NoMeaning (&table)[n]) {
  for (const NoMeaning& row : table)
    for (const std::string& name : words_of(row.names)) line.no_meaning(name, row.reason);
}

template <size_t n>
void declare(CommandLine& line, const Agreed (&table)[n]) {
  for (const Agreed& row : table)
    line.judged(row.name, [row](const std::string& value) {
      const std::vector<std::string> values = words_of(row.values);
      if (std::find(values.begin(), values.end(), lower_case(value)) != values.end()) return;
      fail(Exit::usage, "--", row.name, ": got \"", value, "\"",
           values.empty() ? "" : ", expected " + joined(values, " or "), "; ", row.reason);
    });
}

// The family that the official scripts are told must be the model's own.
void judge_family(const std::string& option, const std::string& value, const std::string& model_name) {
  const auto known = families() | std::views::transform(&Family::model_type);
  if (std::ranges::find(known, lower_case(value)) == known.end())
    fail(Exit::usage, "--", option, ": got \"", value, "\", expected ", joined(known, " or "),
         "; the folder of --model_name decides");
  const std::filesystem::path config = config_file_in(model_name);
  if (!std::filesystem::exists(config)) return;  // which is said where the model is loaded
  if (const Family& family = family_of(config); family.model_type != lower_case(value))
    fail(Exit::usage, "--", option, ": got \"", value, "\", but ", model_name, " is ", family.title, " (",
         family.model_type, "); leave the option out");
}

void shared_options(CommandLine& line, const ModelOptions& o) {
  declare(line, kNoMeaning);
  declare(line, kAgreed);
  line.alias("bf16", "precision", {{"true", "bf16"}, {"false", "f32"}});
  for (const char* option : {"model_backbone", "model_type"})
    line.judged(option, [&o, option](const std::string& value) { judge_family(option, value, o.model_name); });
  line.judged("processor_name", [&o](const std::string& value) {
    if (value != o.model_name)
      fail(Exit::usage, "--processor_name: got \"", value, "\"; the processor comes from --model_name");
  });
  // V2's option: False means V1's route of --image_resolution; True disables it.
  line.judged("resize_use_processor", [&o](const std::string& value) {
    const std::string agreed = o.image_resolution.empty() ? "true" : "false";
    if (lower_case(value) != agreed)
      fail(Exit::usage, "--resize_use_processor: got \"", value, "\", expected ", agreed,
           ", because --image_resolution is ", o.image_resolution.empty() ? "not given" : "given");
  });
}

}  // namespace

void official_options(CommandLine& line, const TrainOptions& o) {
  shared_options(line, o);
  line.alias("interleave_batch_size", "homogeneous_batch_size_per_device");  // older names
  line.alias("split_name", "dataset_split");
  line.alias("activation_checkpointing", "gradient_checkpointing");  // the name in transformers 5
  line.alias("per_gpu_train_batch_size", "per_device_train_batch_size");
  declare(line, kNoMeaningInTraining);
  declare(line, kAgreedInTraining);
  line.judged("grad_cache", [&o](const std::string& value) {
    const std::string word = lower_case(value);
    if (word != "true" && word != "false")
      fail(Exit::usage, "--grad_cache: got \"", value, "\", expected True or False");
    if (word == "false" && in_chunks(o))
      fail(Exit::usage,
           "--grad_cache: got False with --gc_q_chunk_size, --gc_p_chunk_size or --gc_tokens, which turn GradCache on");
  });
}

void official_options(CommandLine& line, const EvalOptions& o) {
  shared_options(line, o);
  declare(line, kNoMeaningInEvaluation);
  declare(line, kAgreedInEvaluation);
  line.alias("checkpoint_path", "adapter");
}

}  // namespace vlm2vec
