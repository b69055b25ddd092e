// Every option of `train` and `eval`, and what they share with `embed`, `explain` and `parity`, once: the command line,
// --help, the printout and the JSON of a run are made from these lists. Names are those of the official scripts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vlm2vec {

// An adapter, and how much of it is wanted.
struct AdapterArguments {
  std::string adapter;
  bool use_dora = true, allow_partial_adapter = false, adapter_norms = false;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("adapter", adapter,
          "PEFT folder to apply (LoRA or DoRA); train goes on from it, with its own rank, alpha, dropout and layers");
    visit("use_dora", use_dora, "False: LoRA, also from the adapter of a DoRA folder, without its magnitude vectors");
    visit("allow_partial_adapter", allow_partial_adapter, "use what of the adapter matches layers of the model");
    visit("adapter_norms", adapter_norms, "print the norm of each module's change s*BA");
  }
};

// Which model, and how it reads a row.
struct ModelOptions : AdapterArguments {
  std::string model_name, precision = "f32", image_resolution, image_positions;
  int64_t max_len = 0, resize_min_pixels = 0, resize_max_pixels = 0;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
    AdapterArguments::fields(visit);
    visit("precision", precision,
          "of products with weights: f32, or bf16 with sums in f32; a model that is trained whole then has bf16 "
          "weights, too, "
          "with f32 masters in its checkpoints");
    visit("max_len", max_len, "tokens of a row, pictures included; text beyond is cut off (0: no limit)");
    visit(
        "image_resolution", image_resolution,
        "VLM2Vec V1's route: pictures are resized in the file's own mode to 1344x1344 (high), 672x672 (mid), 128x128 "
        "(low) or, with another word, to 1344x1344 where a side is longer, before all else (absent: V2's, RGB first)");
    visit("image_positions", image_positions,
          "positions of a picture that no <|vision_start|> opens, as in VLM2Vec's prompts: 1d, counted like text "
          "(VLM2Vec, transformers up to 5.2), or 3d, by row and column (transformers since 5.3); absent: what the "
          "model was trained with, else 1d");
    visit("resize_min_pixels", resize_min_pixels,
          "smaller pictures are enlarged to this area (0: preprocessor_config.json)");
    visit("resize_max_pixels", resize_max_pixels,
          "larger pictures are reduced to this area (0: preprocessor_config.json)");
  }
};

struct TrainOptions : ModelOptions {
  std::string dataset_name, dataset_split = "original", dataset_config, data_basedir, train_file, image_dir, output_dir,
                            batches;
  std::vector<std::string> subset_name;
  int64_t num_sample_per_subset = 0, num_hardneg = 0;
  bool mask_duplicates = false;
  std::string sampling, interleave_stopping_strategy = "all_exhausted";
  double homogeneous_batch_size_per_device = 0;
  int64_t max_steps = 0, per_device_train_batch_size = 128, gc_q_chunk_size = 0, gc_p_chunk_size = 0;
  double num_train_epochs = 0;
  int64_t gradient_accumulation_steps = 1;
  double temperature = 0.02;
  double learning_rate = 2e-5, weight_decay = 0, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8,
         max_grad_norm = 1;
  std::string lr_scheduler_type = "linear";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;
  bool lora = false;
  int64_t lora_r = 16;
  double lora_alpha = 64, lora_dropout = 0.1;
  std::vector<std::string> lora_target_modules = {"qkv_proj", "o_proj",   "gate_up_proj", "down_proj", "k_proj",
                                                  "q_proj",   "out_proj", "v_proj",       "gate_proj", "up_proj"};
  std::string adapter_names = "hub";
  bool gradient_checkpointing = false, image_encoder_freeze = false;
  std::vector<std::string> freeze;
  int64_t save_steps = 0, save_total_limit = 0, logging_steps = 1;
  std::string report_to = "none", logging_dir, run_name;
  bool overwrite_output_dir = false;
  std::string save_strategy = "steps", resume_from = "none", bad_rows = "error";
  uint64_t seed = 42;

  template <class Visit>
  void fields(Visit&& visit) {
    ModelOptions::fields(visit);
    visit("dataset_name", dataset_name, "folder of training sets, one sub-folder each (MMEB-train)");
    visit("subset_name", subset_name, "only these sets of the folder");
    visit("dataset_split", dataset_split, "which rows of each set: original or diverse_instruction");
    visit("num_sample_per_subset", num_sample_per_subset, "only the first N rows of each set (0: all)");
    visit("dataset_config", dataset_config, "official YAML file that names the sets, instead of a folder");
    visit("data_basedir", data_basedir, "joined before relative folders in dataset_config");
    visit("train_file", train_file, "one file of training rows (JSON lines) instead of a folder");
    visit("image_dir", image_dir,
          "joined before the rows' picture paths, or a zip or tar file; zips and tars in it, its images_zip and its "
          "images are read in place (default: the folder of the rows)");
    visit(
        "sampling", sampling,
        "order of rows: shuffled (VLM2Vec V1: all rows as one), interleaved (V2: blocks of one set) or balanced (each "
        "row of a set drawn uniformly); default: interleaved with dataset_config, else shuffled");
    visit("interleave_stopping_strategy", interleave_stopping_strategy,
          "an interleaved pass ends when all sets are spent (all_exhausted) or with the first (first_exhausted)");
    visit("homogeneous_batch_size_per_device", homogeneous_batch_size_per_device,
          "interleaved: rows of a block, up to 1 as a share of the batch (0: every row is drawn by itself)");
    visit("num_hardneg", num_hardneg, "up to N of each row's own negatives are further targets for the whole batch");
    visit(
        "mask_duplicates", mask_duplicates,
        "a target equal to a query's own, in text and picture, is not its wrong answer (of several positives the drawn "
        "one is its own)");
    visit("bad_rows", bad_rows,
          "a row that cannot be used (unreadable picture, empty side, image tokens that do not fit): error stops, skip "
          "leaves it out and lists it in skipped_rows.jsonl");
    visit("output_dir", output_dir, "where the trained model, log.jsonl and checkpoints go");
    visit("max_steps", max_steps, "training steps (0 or -1: what --num_train_epochs comes to, or 2000 without it)");
    visit("num_train_epochs", num_train_epochs, "in place of --max_steps: as many steps as all rows fill so often");
    visit("per_device_train_batch_size", per_device_train_batch_size, "pairs per step, each other's negatives");
    visit("gradient_accumulation_steps", gradient_accumulation_steps,
          "batches per step, whose mean gradient is taken; adds no negatives (a larger batch in GradCache's chunks "
          "does)");
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
    visit("weight_decay", weight_decay, "AdamW, on all but biases and norms");
    visit("adam_beta1", adam_beta1, "AdamW");
    visit("adam_beta2", adam_beta2, "AdamW");
    visit("adam_epsilon", adam_epsilon, "AdamW");
    visit("max_grad_norm", max_grad_norm, "gradients are scaled down to this norm (0: never)");
    visit("lora", lora, "train LoRA adapters on frozen weights");
    visit("lora_r", lora_r, "rank");
    visit("lora_alpha", lora_alpha, "the adapter's output is scaled by alpha / r");
    visit("lora_dropout", lora_dropout, "dropout before the adapter");
    visit("lora_target_modules", lora_target_modules,
          "names of the layers that get an adapter, or all-linear: all linear layers, also of the image encoder");
    visit("adapter_names", adapter_names,
          "names in the saved adapter: hub (model.language_model.layers, for PEFT with transformers since 4.52) or "
          "official (model.layers, for VLM2Vec's own model class and older transformers); both are read");
    visit("gradient_checkpointing", gradient_checkpointing, "keep one activation per layer, compute the others again");
    visit("image_encoder_freeze", image_encoder_freeze, "do not train the image encoder: --freeze visual");
    visit("freeze", freeze,
          "do not train parameters whose Hugging Face names begin so: model.embed_tokens visual.blocks.0");
    visit("overwrite_output_dir", overwrite_output_dir,
          "with --resume_from none: remove what an earlier run left in output_dir");
    visit("save_strategy", save_strategy, "steps (a checkpoint every save_steps) or no (only when interrupted)");
    visit("save_steps", save_steps, "a checkpoint every N steps (0: only when interrupted)");
    visit("save_total_limit", save_total_limit, "keep the latest N checkpoints (0: all)");
    visit("logging_steps", logging_steps,
          "every N steps trainer_state.json and TensorBoard get the mean loss since, and a log a line of progress");
    visit("report_to", report_to, "tensorboard (event files in logging_dir) or none");
    visit("logging_dir", logging_dir, "of event files (default: output_dir/runs/run_name)");
    visit("run_name", run_name, "kept in training_options.json; of event files (default: the last part of output_dir)");
    visit("resume_from", resume_from, "auto (the latest checkpoint in output_dir, if any), none, or a step");
    visit("seed", seed, "of the order of rows, new adapters and dropout");
  }
};

struct EvalOptions : ModelOptions {
  std::string dataset_name, dataset_config, data_basedir, retrieval_file, image_dir, encode_output_path,
      embedding_cache, prompt_variants;
  int64_t num_candidates = 0;
  std::vector<std::string> subset_name;
  int64_t per_device_eval_batch_size = 32;
  bool save_embeddings = true;

  template <class Visit>
  void fields(Visit&& visit) {
    ModelOptions::fields(visit);
    visit("dataset_name", dataset_name, "folder of test sets, one sub-folder each (MMEB-eval)");
    visit("subset_name", subset_name, "only these sets of the folder");
    visit("dataset_config", dataset_config, "official YAML file that names the sets, instead of a folder");
    visit("data_basedir", data_basedir, "joined before relative folders in dataset_config");
    visit("retrieval_file", retrieval_file,
          "instead of a folder: rows {\"filename\": picture, \"caption\": [texts]}, as Flickr30K has them, for recall "
          "both ways among all of them");
    visit("image_dir", image_dir,
          "joined before the rows' picture paths, or a zip or tar file; zips and tars in it, its images_zip and its "
          "images are read in place (default: dataset_name, or the folder of retrieval_file)");
    visit("encode_output_path", encode_output_path, "where scores, predictions, embeddings and summary.json go");
    visit("save_embeddings", save_embeddings, "write the vectors of each set too: {set}_qry.npy, {set}_tgt.npy");
    visit("num_candidates", num_candidates,
          "candidates of each query, drawn from its row and then its set, but in classification (0: those of the row)");
    visit("prompt_variants", prompt_variants,
          "JSON file {\"Set\": [\"instruction\", ...]}, or \"*\" for all: how far other instructions move the scores");
    visit("per_device_eval_batch_size", per_device_eval_batch_size,
          "inputs embedded at a time; scores do not depend on it");
    visit(
        "embedding_cache", embedding_cache,
        "folder that keeps vectors for later: those of the same model, options, text and pictures are not made again");
  }
};

}  // namespace vlm2vec
