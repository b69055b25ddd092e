#include "cli/hints.h"

#include <algorithm>
#include <cctype>
#include <span>

#include "io/nearest.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

// Names in other programs or other commands, and the names here; the first name here that the command has is meant.
struct Synonyms {
  const char *others, *ours;
};

constexpr Synonyms kOptions[] = {
    {"model m model_path model_dir model_id model_folder base_model base_model_name_or_path model_name_or_path "
     "pretrained pretrained_model pretrained_model_name_or_path backbone",
     "model_name"},
    {"checkpoint checkpoint_dir ckpt ckpt_path resume resume_from_checkpoint continue", "resume_from model_name"},
    {"lora_path peft peft_path peft_model adapter_path adapter_name adapter_name_or_path lora_weights", "adapter"},
    {"lr rate base_lr max_lr eta", "learning_rate"},
    {"lr_scheduler scheduler lr_schedule schedule", "lr_scheduler_type"},
    {"bs b batch batch_size batchsize train_batch_size eval_batch_size micro_batch_size mini_batch_size "
     "global_batch_size",
     "per_device_train_batch_size per_device_eval_batch_size batch_size"},
    {"grad_accum grad_accumulation accumulation_steps accumulate_grad_batches gradient_accumulation accum_steps",
     "gradient_accumulation_steps"},
    {"epoch epochs num_epochs n_epochs max_epochs train_epochs", "num_train_epochs"},
    {"step steps num_steps n_steps iterations iters max_iters num_iterations train_steps num_train_steps "
     "max_train_steps",
     "max_steps"},
    {"warmup num_warmup_steps lr_warmup_steps", "warmup_steps"},
    {"wd decay", "weight_decay"},
    {"beta1", "adam_beta1"},
    {"beta2", "adam_beta2"},
    {"eps epsilon adam_eps", "adam_epsilon"},
    {"clip clip_grad grad_clip gradient_clip_val clip_norm gradient_clipping max_norm", "max_grad_norm"},
    {"tau temp t logit_scale", "temperature"},
    {"learnable_temperature trainable_temperature learned_temperature", "learn_temperature"},
    {"r rank lora_rank lora_dim", "lora_r"},
    {"alpha", "lora_alpha"},
    {"dropout", "lora_dropout"},
    {"target_modules lora_modules lora_targets", "lora_target_modules"},
    {"dora", "use_dora"},
    {"use_lora peft_type", "lora"},
    {"hard_negatives hard_negs num_negatives negatives", "num_hardneg num_candidates"},
    {"chunk_size gc_chunk_size", "gc_q_chunk_size"},
    {"data dataset datasets dataset_dir dataset_path data_dir data_path data_folder train_data train_dataset train_dir "
     "eval_data eval_dataset test_data dataset_name",
     "dataset_name input index"},
    {"train_path train_jsonl", "train_file dataset_name"},
    {"subset subsets set sets", "subset_name"},
    {"image_size img_size picture_size", "image_resolution resize"},
    {"images pictures picture photo photos img image_path image_file", "image image_dir input"},
    {"image_folder image_root images_dir img_dir picture_dir", "image_dir"},
    {"max_pixels", "resize_max_pixels"},
    {"min_pixels", "resize_min_pixels"},
    {"resolution", "image_resolution resize"},
    {"exif_transpose auto_orient orientation", "exif"},
    {"out o output output_file output_path out_dir outdir out_file save_dir save_path save_to output_folder result "
     "results save dest to",
     "output output_dir encode_output_path"},
    {"log_dir tensorboard_dir", "logging_dir"},
    {"log_every log_interval log_steps", "logging_steps"},
    {"save_every save_interval checkpoint_every checkpointing_steps", "save_steps"},
    {"log wandb tensorboard logger", "report_to"},
    {"force overwrite f", "overwrite overwrite_output_dir"},
    {"query q question prompt_text string caption sentence", "text queries input"},
    {"text texts", "text input"},
    {"input_file in file files i rows jsonl", "input train_file dataset_name index"},
    {"index_file vectors embeddings database db", "index queries"},
    {"k n topk top_k num_results limit max_results", "top limit"},
    {"gpu gpus cuda cpu accelerator backend", "device"},
    {"num_threads nthreads n_threads j jobs workers num_workers cores num_cpus", "threads"},
    {"random_seed rng_seed manual_seed", "seed"},
    {"fp32 float32 dtype torch_dtype mixed_precision amp bfloat16 half fp16", "precision dtype"},
    {"config c cfg config_file yaml", "dataset_config config"},
    {"max_length max_seq_length max_seq_len seq_len max_tokens model_max_length cutoff_len truncate", "max_len"},
    {"cache cache_dir cache_folder", "embedding_cache"},
    {"silent no_progress no_progress_bar disable_progress", "quiet"},
    {"prompt_type prompt_style template", "prompt"},
    {"instruct task system", "instruction"},
    {"dry_run estimate memory", "plan"},
    {"skip_errors skip_bad ignore_errors on_error", "bad_rows"},
    {"cols column fields", "columns"},
    {"size shape", "resize"},
    {"baseline compare_to previous", "beside"},
    {"candidates", "num_candidates"},
};

constexpr Synonyms kCommands[] = {
    {"finetune fine-tune fine_tune fit training pretrain learn sft run resume lora", "train"},
    {"evaluate evaluation test validate score benchmark mmeb", "eval"},
    {"encode vectorize vectorise vectors embeddings embedding index infer inference predict", "embed"},
    {"serve query find retrieve retrieval lookup knn nearest ask server demo", "search"},
    {"show inspect explainability attribute visualize visualise heatmap", "explain"},
    {"fuse combine export", "merge"},
    {"new create scratch random", "init"},
    {"tokens tokenizer encode_text", "tokenize"},
    {"diff difference", "compare"},
    {"submit submission", "leaderboard"},
    {"verify", "parity"},
    {"info env system hardware bench gpu", "doctor"},
    {"resize decode picture", "image"},
    {"summary html plot", "report"},
    {"--version -v -V about", "version"},
    {"autocomplete bash", "completion"},
    {"validate_data lint", "data check"},
    {"cat head parquet", "data cat"},
    {"mini toy generate", "data mini"},
    {"stats", "data stats"},
    {"preview", "data preview"},
    {"leaks dedup decontaminate", "data leaks"},
};

// "Eval-Data=x" → "eval_data"
std::string official(const std::string& option) {
  std::string name = option.substr(0, option.find('='));
  std::replace(name.begin(), name.end(), '-', '_');
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

std::string likely(const std::string& unknown, const std::vector<std::string>& known, std::span<const Synonyms> table) {
  const auto has = [](const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  for (const auto& [others, ours] : table)
    if (has(words_of(others), unknown))
      for (const std::string& name : words_of(ours))
        if (has(known, name)) return name;
  return nearest(unknown, known);
}

}  // namespace

std::string likely_option(const std::string& unknown, const std::vector<std::string>& known) {
  return likely(official(unknown), known, kOptions);
}

std::string advice(const std::string& command, const std::string& unknown) {
  const std::string name = official(unknown);
  if (command == "train" && (name.starts_with("eval_") || name.starts_with("validation")))
    return "train has no validation; use eval for the scores of a model or a checkpoint";
  if (command == "embed" && (name == "image" || name == "images" || name == "text"))
    return "write texts and pictures into the rows of --input";
  if (name == "bf16") return "the nearest is --precision bf16";
  return "";
}

std::string likely_command(const std::string& unknown, const std::vector<std::string>& known) {
  return likely(unknown, known, kCommands);
}

}  // namespace vlm2vec
