// Every option of `train` and `eval`, once: the command line, --help, the printout and the JSON of a run are made from
// these lists. Names are those of the official scripts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vlm2vec {

constexpr const char* image_resolution_help =
    "VLM2Vec V1's route: pictures are resized in the file's own mode to 1344x1344 (high), 672x672 (mid) or 128x128 "
    "(low), "
    "or, with another word, to 1344x1344 where a side is longer, before all else (none: V2's route, RGB first)";

struct TrainOptions {
  std::string model_name, dataset_name, train_file, image_dir, image_resolution, output_dir, batches, adapter;
  std::vector<std::string> subset_name;
  int64_t num_sample_per_subset = 0, resize_min_pixels = 0, resize_max_pixels = 0;
  int64_t max_steps = 2000, per_device_train_batch_size = 128, gc_q_chunk_size = 0, gc_p_chunk_size = 0;
  double temperature = 0.02;
  double learning_rate = 2e-5, weight_decay = 0, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8,
         max_grad_norm = 1;
  std::string lr_scheduler_type = "linear";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;
  bool lora = false, use_dora = true;
  int64_t lora_r = 16;
  double lora_alpha = 64, lora_dropout = 0.1;
  std::vector<std::string> lora_target_modules = {"qkv_proj", "o_proj",   "gate_up_proj", "down_proj", "k_proj",
                                                  "q_proj",   "out_proj", "v_proj",       "gate_proj", "up_proj"};
  bool gradient_checkpointing = false;
  int64_t save_steps = 0;
  std::string resume_from = "none";
  uint64_t seed = 42;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("model_name", model_name, "folder of the checkpoint to train (Hugging Face layout)");
    visit("dataset_name", dataset_name, "folder of training sets, one sub-folder each (MMEB-train)");
    visit("subset_name", subset_name, "only these sets of the folder");
    visit("num_sample_per_subset", num_sample_per_subset, "only the first N rows of each set (0: all)");
    visit("train_file", train_file, "one file of training rows (JSON lines) instead of a folder");
    visit("image_dir", image_dir, "joined before the rows' picture paths (default: the folder of the rows)");
    visit("image_resolution", image_resolution, image_resolution_help);
    visit("resize_min_pixels", resize_min_pixels,
          "smaller pictures are enlarged to this area (0: preprocessor_config.json)");
    visit("resize_max_pixels", resize_max_pixels,
          "larger pictures are reduced to this area (0: preprocessor_config.json)");
    visit("output_dir", output_dir, "where the trained model, log.jsonl and checkpoints go");
    visit("adapter", adapter, "continue from this PEFT LoRA folder, with its own rank, alpha, dropout and layers");
    visit("max_steps", max_steps, "training steps");
    visit("per_device_train_batch_size", per_device_train_batch_size, "pairs per step");
    visit("gc_q_chunk_size", gc_q_chunk_size, "GradCache: queries embedded at a time (0: all at once)");
    visit("gc_p_chunk_size", gc_p_chunk_size, "GradCache: targets embedded at a time (0: all at once)");
    visit("batches", batches,
          "JSON file with a list of row numbers for each step, to replay another trainer's run (their lengths are the "
          "pairs per step)");
    visit("temperature", temperature, "tau of InfoNCE");
    visit("learning_rate", learning_rate, "highest learning rate");
    visit("lr_scheduler_type", lr_scheduler_type, "linear, cosine, constant or constant_with_warmup");
    visit("warmup_steps", warmup_steps, "steps over which the rate rises from 0");
    visit("warmup_ratio", warmup_ratio, "the same as a share of max_steps; warmup_steps goes first");
    visit("weight_decay", weight_decay, "AdamW, on matrices");
    visit("adam_beta1", adam_beta1, "AdamW");
    visit("adam_beta2", adam_beta2, "AdamW");
    visit("adam_epsilon", adam_epsilon, "AdamW");
    visit("max_grad_norm", max_grad_norm, "gradients are scaled down to this norm (0: never)");
    visit("lora", lora, "train LoRA adapters on frozen weights");
    visit("use_dora", use_dora, "DoRA instead of LoRA; this program trains LoRA only, so say False");
    visit("lora_r", lora_r, "rank");
    visit("lora_alpha", lora_alpha, "the adapter's output is scaled by alpha / r");
    visit("lora_dropout", lora_dropout, "dropout before the adapter");
    visit("lora_target_modules", lora_target_modules, "names of the layers that get an adapter");
    visit("gradient_checkpointing", gradient_checkpointing, "keep one activation per layer, compute the others again");
    visit("save_steps", save_steps, "a checkpoint every N steps (0: only when interrupted)");
    visit("resume_from", resume_from, "auto (the latest checkpoint in output_dir, if any), none, or a step");
    visit("seed", seed, "of the order of rows, new adapters and dropout");
  }
};

struct EvalOptions {
  std::string model_name, adapter, dataset_name, image_dir, image_resolution, encode_output_path;
  std::vector<std::string> subset_name;
  int64_t per_device_eval_batch_size = 32, resize_min_pixels = 0, resize_max_pixels = 0;
  bool use_dora = true;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
    visit("adapter", adapter, "PEFT LoRA folder to apply");
    visit("use_dora", use_dora, "False reads a DoRA adapter as LoRA, without its magnitude vectors");
    visit("dataset_name", dataset_name, "folder of test sets, one sub-folder each (MMEB-eval)");
    visit("subset_name", subset_name, "only these sets of the folder");
    visit("image_dir", image_dir, "joined before the rows' picture paths (default: dataset_name)");
    visit("image_resolution", image_resolution, image_resolution_help);
    visit("resize_min_pixels", resize_min_pixels,
          "smaller pictures are enlarged to this area (0: preprocessor_config.json)");
    visit("resize_max_pixels", resize_max_pixels,
          "larger pictures are reduced to this area (0: preprocessor_config.json)");
    visit("encode_output_path", encode_output_path, "where scores, predictions and summary.json go");
    visit("per_device_eval_batch_size", per_device_eval_batch_size,
          "inputs embedded at a time; scores do not depend on it");
  }
};

}  // namespace vlm2vec
