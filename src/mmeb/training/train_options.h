// Every option of `train`, once (vlm/model_options.h says how such a list is used). Names are those of the official
// scripts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "vlm/model_options.h"

namespace vlm2vec {

struct TrainOptions : ModelOptions {
  std::string dataset_name, dataset_split = "original", dataset_config, data_basedir, train_file, image_dir, output_dir,
                            batches, prompt;
  std::vector<std::string> subset_name;
  int64_t num_sample_per_subset = 0, num_hardneg = 0;
  bool mask_duplicates = false;
  std::string missing_sets = "error", sampling, interleave_stopping_strategy = "all_exhausted";
  double homogeneous_batch_size_per_device = 0;
  int64_t max_steps = 0, per_device_train_batch_size = 128, gc_q_chunk_size = 0, gc_p_chunk_size = 0, gc_tokens = 0;
  bool gc_keep_tapes = true;
  double num_train_epochs = 0;
  int64_t gradient_accumulation_steps = 1;
  double temperature = 0.02;
  bool learn_temperature = false, bf16_scores = false, deterministic = true;
  double learning_rate = 2e-5, weight_decay = 0, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8,
         max_grad_norm = 1;
  std::string lr_scheduler_type = "linear";
  double warmup_steps = 0, warmup_ratio = 0;
  bool lora = false;
  int64_t lora_r = 16;
  double lora_alpha = 64, lora_dropout = 0.1;
  std::vector<std::string> lora_target_modules = {"qkv_proj", "o_proj",   "gate_up_proj", "down_proj", "k_proj",
                                                  "q_proj",   "out_proj", "v_proj",       "gate_proj", "up_proj"};
  std::string adapter_names = "hub";
  bool gradient_checkpointing = false, image_encoder_freeze = false;
  std::vector<std::string> freeze;
  double save_minutes = 10;
  int64_t save_steps = 0, save_total_limit = 0, logging_steps = 1;
  std::string report_to = "none", logging_dir, run_name;
  bool overwrite_output_dir = false;
  std::string save_strategy = "steps", resume_from = "none", bad_rows = "error";
  uint64_t seed = 42;

  template <class Visit>
  void fields(Visit&& visit) {
    ModelOptions::fields(visit, true);
    data_fields(visit);
    batch_fields(visit);
    loss_fields(visit);
    adapter_fields(visit);
    output_fields(visit);
  }

 private:
  template <class Visit>
  void data_fields(Visit& visit) {
    section(visit, "Data");
    visit("dataset_name", dataset_name, "<DIR> folder of training sets, one folder each (MMEB-train)");
    visit("subset_name", subset_name, "<NAME> use only these sets of the folder");
    visit("dataset_split", dataset_split, "<NAME> which rows of each set: original or diverse_instruction");
    visit("num_sample_per_subset", num_sample_per_subset, "use only the first N rows of each set (0: all)");
    visit("dataset_config", dataset_config, "<FILE> official YAML file that names the sets, instead of a folder");
    visit("data_basedir", data_basedir, "<DIR> joined before relative folders in dataset_config");
    visit("train_file", train_file, "<FILE> one file of training rows (JSON lines) instead of a folder");
    visit("image_dir", image_dir,
          "<PATH> joined before the rows' picture paths, or a zip or tar file. Zips and tars in it, its images_zip and "
          "its images are read in place (default: the folder of the rows)");
    visit("missing_sets", missing_sets,
          "<error|skip> sets of subset_name or dataset_config that have no file of rows: error stops; skip trains "
          "without them");
    visit("sampling", sampling,
          "<shuffled|interleaved|balanced> order of rows. shuffled: all sets together (VLM2Vec V1). interleaved: "
          "blocks of one set (V2). balanced: the set of each row is drawn uniformly. Default: interleaved with "
          "dataset_config, else shuffled");
    visit("interleave_stopping_strategy", interleave_stopping_strategy,
          "<all_exhausted|first_exhausted> interleaved: a pass ends when all sets (all_exhausted) or the first set "
          "(first_exhausted) is used up");
    visit("homogeneous_batch_size_per_device", homogeneous_batch_size_per_device,
          "interleaved: rows per block; up to 1: share of the batch (0: draw a set for each row)");
    visit("batches", batches,
          "<FILE> JSON file with a list of row numbers for each step, to replay another trainer's run; replaces the "
          "batch size");
    visit("prompt", prompt,
          "<STYLE> builds each prompt anew, in a style of the model as in embed, from the row's own words, with MMEB's "
          "instructions where the style has them (default: the stored texts)");
    visit("bad_rows", bad_rows,
          "<error|skip> rows that cannot be used: unreadable picture, empty side, image tokens that do not match. "
          "error: stop there. skip: leave them out and list them in skipped_rows.jsonl");
  }

  template <class Visit>
  void batch_fields(Visit& visit) {
    section(visit, "Batch and memory");
    visit("per_device_train_batch_size", per_device_train_batch_size,
          "pairs per step; they are each other's negatives");
    visit("num_hardneg", num_hardneg, "add up to N of each row's own negatives as targets for the whole batch");
    visit("mask_duplicates", mask_duplicates, "do not count identical targets in a batch as negatives");
    visit("gradient_accumulation_steps", gradient_accumulation_steps,
          "average the gradient of this many batches per step; adds no negatives (for more, enlarge the batch and set "
          "gc_q_chunk_size and gc_p_chunk_size)");
    visit("gc_q_chunk_size", gc_q_chunk_size, "GradCache: queries embedded at a time (0: all at once)");
    visit("gc_p_chunk_size", gc_p_chunk_size, "GradCache: targets embedded at a time (0: all at once)");
    visit("gc_tokens", gc_tokens,
          "GradCache: tokens embedded at a time, those of pictures too, the longest rows first; a longer row is alone "
          "(0: no limit)");
    visit("gc_keep_tapes", gc_keep_tapes,
          "GradCache: keep the history of the first chunks in half of the memory that is free, so that they are "
          "embedded once; the same bits");
    visit("deterministic", deterministic,
          "False: attention's backward takes 5 products instead of 7 and adds their results in any order, so that no "
          "two runs have the same bits. Only with --device cuda or emu and --precision bf16; else, and on the CPU "
          "always, equal runs are equal to the bit");
    visit("gradient_checkpointing", gradient_checkpointing,
          "keep one activation per layer and compute the rest again: less memory, more time");
  }

  template <class Visit>
  void loss_fields(Visit& visit) {
    section(visit, "Loss and optimiser");
    visit("max_steps", max_steps, "training steps (0 or -1: as num_train_epochs says, or 2000 without it)");
    visit("num_train_epochs", num_train_epochs, "number of passes over the data (instead of max_steps)");
    visit("temperature", temperature, "temperature of InfoNCE: similarities are divided by it");
    visit("learn_temperature", learn_temperature,
          "train the temperature, too, from the given one down to 0.01 at least, like CLIP's logit_scale; log.jsonl "
          "has it");
    visit("bf16_scores", bf16_scores,
          "round embeddings to bf16 for the similarities of InfoNCE: a sixth of the products on a GPU, gradients off "
          "by about 0.3 % at temperature 0.02");
    visit("learning_rate", learning_rate, "highest learning rate");
    visit("lr_scheduler_type", lr_scheduler_type,
          "<linear|cosine|constant|constant_with_warmup> shape of the learning rate after warm-up");
    visit("warmup_steps", warmup_steps,
          "steps over which the learning rate rises from 0; below 1: share of all steps, as in transformers 5");
    visit("warmup_ratio", warmup_ratio, "warmup as a share of all steps; ignored if warmup_steps is set");
    visit("weight_decay", weight_decay, "weight decay of AdamW, not for biases and norms");
    visit("adam_beta1", adam_beta1, "AdamW: decay of the mean of gradients");
    visit("adam_beta2", adam_beta2, "AdamW: decay of the mean of squared gradients");
    visit("adam_epsilon", adam_epsilon, "AdamW: added to the root of the mean of squared gradients");
    visit("max_grad_norm", max_grad_norm, "scale the gradient down to this norm if it is longer (0: never)");
    visit("seed", seed, "random seed for the order of rows, new adapters and dropout");
  }

  template <class Visit>
  void adapter_fields(Visit& visit) {
    section(visit, "What is trained");
    visit("lora", lora, "train adapters on frozen weights: DoRA, or LoRA with use_dora False");
    visit("lora_r", lora_r, "rank of the adapters");
    visit("lora_alpha", lora_alpha, "the adapter's output is scaled by alpha / r");
    visit("lora_dropout", lora_dropout, "dropout before the adapter");
    visit("lora_target_modules", lora_target_modules,
          "<NAME> names of the layers that get an adapter, or all-linear: all linear layers, with the image encoder's");
    visit("adapter_names", adapter_names,
          "<hub|official> names in the saved adapter; the program reads both. hub: model.language_model.layers, for "
          "PEFT with transformers since 4.52. official: model.layers, for VLM2Vec's own model class and older "
          "transformers");
    visit("image_encoder_freeze", image_encoder_freeze, "do not train the image encoder, like --freeze visual");
    visit("freeze", freeze,
          "<NAME> do not train parameters whose Hugging Face names begin with these, e.g. model.embed_tokens "
          "visual.blocks.0");
  }

  template <class Visit>
  void output_fields(Visit& visit) {
    section(visit, "Output");
    visit("output_dir", output_dir, "<DIR> folder for the trained model, log.jsonl and checkpoints");
    visit("overwrite_output_dir", overwrite_output_dir, "with resume_from none: remove an earlier run from output_dir");
    visit("resume_from", resume_from,
          "<none|auto|N> auto (the latest checkpoint in output_dir, if any), none, or a step");
    visit("save_strategy", save_strategy,
          "<steps|no> steps (checkpoints by save_minutes and save_steps) or no (only when interrupted)");
    visit("save_minutes", save_minutes,
          "save checkpoint-latest every N minutes; each replaces the one before, and the finished model the last (0: "
          "never)");
    visit("save_steps", save_steps, "save a permanent checkpoint every N steps (0: none)");
    visit("save_total_limit", save_total_limit, "keep only the latest N checkpoints of save_steps (0: all)");
    visit("logging_steps", logging_steps,
          "report the mean loss every N steps in trainer_state.json, in TensorBoard and, if stderr is a file, as a "
          "line of progress");
    visit("report_to", report_to, "<none|tensorboard> tensorboard (event files in logging_dir) or none");
    visit("logging_dir", logging_dir, "<DIR> folder of the event files (default: output_dir/runs/run_name)");
    visit("run_name", run_name,
          "<NAME> name of the event files, also kept in training_options.json (default: the last part of output_dir)");
  }
};

// True if GradCache may go through the rows of a batch in several chunks.
inline bool in_chunks(const TrainOptions& o) {
  return o.gc_q_chunk_size > 0 || o.gc_p_chunk_size > 0 || o.gc_tokens > 0;
}
// True if checkpoints are written before the run's end.
inline bool saves_beside(const TrainOptions& o) {
  return o.save_strategy == "steps" && (o.save_steps > 0 || o.save_minutes > 0);
}

// Throws Exit::usage for values out of range, options that exclude each other and options without effect. No file is
// read.
void check_options(const TrainOptions& options);

}  // namespace vlm2vec
