// Checks the options of a training run before any file is read.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "io/error.h"
#include "mmeb/data/left_out.h"
#include "mmeb/data/outputs.h"
#include "mmeb/training/logit_scale.h"
#include "mmeb/training/training_data.h"
#include "vlm/families/family.h"

namespace vlm2vec {
namespace {

template <class... Parts>
void needs(bool ok, const Parts&... parts) {
  if (!ok) fail(Exit::usage, parts...);
}

void check_steps(const TrainOptions& o) {
  needs(o.per_device_train_batch_size > 0, "train: --per_device_train_batch_size ", o.per_device_train_batch_size,
        ", expected 1 or more");
  needs(o.gradient_accumulation_steps > 0, "train: --gradient_accumulation_steps ", o.gradient_accumulation_steps,
        ", expected 1 or more");
  needs(sampling_of(o) != "interleaved" || o.num_train_epochs == 0,
        "train: --num_train_epochs counts all rows, but an interleaved pass drops some; give --max_steps");
  needs(o.max_steps >= -1 && o.num_train_epochs >= 0 && o.num_train_epochs <= 1e6,
        "train: --max_steps and --num_train_epochs cannot be negative, nor epochs more than a million");
  needs(o.max_steps <= 0 || o.num_train_epochs == 0,
        "train: --max_steps and --num_train_epochs both say how long to train; give one of them");
  needs(o.batches.empty() || o.num_train_epochs == 0,
        "train: --num_train_epochs has no effect with --batches, which names the rows of every batch");
  skips_bad_rows("train", o.bad_rows);
  needs(o.save_strategy == "steps" || o.save_strategy == "no", "train: --save_strategy ", o.save_strategy,
        ", expected steps or no");
  needs(o.temperature > 0, "train: --temperature ", o.temperature, ", expected a positive number");
  needs(!o.learn_temperature || o.temperature * LogitScale::kMost >= 1, "train: --temperature ", o.temperature,
        ", expected ", 1 / LogitScale::kMost, " or more with --learn_temperature, which goes no lower");
  const std::pair<const char*, double> counts[] = {{"gc_q_chunk_size", double(o.gc_q_chunk_size)},
                                                   {"gc_p_chunk_size", double(o.gc_p_chunk_size)},
                                                   {"gc_tokens", double(o.gc_tokens)},
                                                   {"save_steps", double(o.save_steps)},
                                                   {"save_minutes", o.save_minutes},
                                                   {"save_total_limit", double(o.save_total_limit)},
                                                   {"learning_rate", o.learning_rate},
                                                   {"weight_decay", o.weight_decay},
                                                   {"max_grad_norm", o.max_grad_norm}};
  for (const auto& [option, value] : counts)
    needs(value >= 0, "train: --", option, ": got ", value, ", expected 0 or more");
  needs(o.gc_keep_tapes || in_chunks(o),
        "train: --gc_keep_tapes False has no effect without --gc_q_chunk_size, --gc_p_chunk_size or --gc_tokens");
  needs(0 <= o.warmup_steps && o.warmup_steps <= 1e15 &&
            (o.warmup_steps < 1 || o.warmup_steps == std::floor(o.warmup_steps)),
        "train: --warmup_steps ", o.warmup_steps, ", expected a whole number of steps, or a share below 1");
  needs(o.logging_steps > 0, "train: --logging_steps ", o.logging_steps, ", expected 1 or more");
  needs(o.report_to == "none" || o.report_to == "tensorboard", "train: --report_to ", o.report_to,
        ", expected tensorboard or none");
  needs(o.report_to == "tensorboard" || o.logging_dir.empty(),
        "train: --logging_dir has no effect without --report_to tensorboard");
  needs(0 <= o.warmup_ratio && o.warmup_ratio <= 1, "train: --warmup_ratio ", o.warmup_ratio, ", expected 0 to 1");
  needs(0 <= o.lora_dropout && o.lora_dropout < 1 && o.lora_r > 0,
        "train: expected --lora_dropout from 0 to below 1 and a positive --lora_r");
  needs(0 <= o.adam_beta1 && o.adam_beta1 < 1 && 0 <= o.adam_beta2 && o.adam_beta2 < 1 && o.adam_epsilon > 0,
        "train: expected --adam_beta1 and --adam_beta2 from 0 to below 1 and a positive --adam_epsilon");
}

void check_output(const TrainOptions& o) {
  check_output_folder("train: --output_dir", o.output_dir,
                      {{"the folder of the model itself", o.model_name},
                       {"the folder of the data", o.dataset_name},
                       {"the --image_dir", o.image_dir}});
  const auto lies_in_output = [&](const std::string& path) {
    const std::filesystem::path inside =
        std::filesystem::weakly_canonical(path).lexically_relative(std::filesystem::weakly_canonical(o.output_dir));
    return !path.empty() && !inside.empty() && *inside.begin() != "..";
  };
  for (const std::string& path : {o.model_name, o.adapter, o.dataset_name, o.train_file, o.dataset_config})
    needs(!o.overwrite_output_dir || !lies_in_output(path), "train: ", path,
          " lies in --output_dir, which --overwrite_output_dir clears; choose another --output_dir");
  const bool adapters = o.lora || !o.adapter.empty();
  const std::filesystem::path other =
      std::filesystem::path(o.output_dir) / (adapters ? "model.safetensors" : "adapter_model.safetensors");
  needs(!std::filesystem::exists(other) || o.overwrite_output_dir, "train: ", other.string(),
        " exists, so --output_dir holds the ", adapters ? "full model" : "adapter",
        " of another run; choose another --output_dir");
}

void check_adapter(const TrainOptions& o) {
  const TrainOptions standard;
  const bool shaped = o.lora_r != standard.lora_r || o.lora_alpha != standard.lora_alpha ||
                      o.lora_dropout != standard.lora_dropout || o.lora_target_modules != standard.lora_target_modules;
  needs(o.lora || !o.adapter.empty() ||
            !(shaped || o.use_dora != standard.use_dora || o.adapter_names != standard.adapter_names),
        "train: --lora_r, --lora_alpha, --lora_dropout, --lora_target_modules, --use_dora and --adapter_names have no "
        "effect without --lora True");
  needs(o.lora_target_modules.size() == 1 || std::ranges::none_of(o.lora_target_modules, is_all_linear),
        "train: --lora_target_modules all-linear means all linear layers; leave out the other names");
  spelling_of(o.adapter_names);
  needs(o.adapter.empty() || !shaped,
        "train: --lora_r, --lora_alpha, --lora_dropout and --lora_target_modules come from the folder of --adapter");
  needs(o.batches.empty() || o.per_device_train_batch_size == standard.per_device_train_batch_size,
        "train: --per_device_train_batch_size has no effect with --batches, which names each batch's rows");
  needs(!o.adapter.empty() || (!o.allow_partial_adapter && !o.adapter_norms),
        "train: --allow_partial_adapter and --adapter_norms have no effect without --adapter");
}

}  // namespace

void check_options(const TrainOptions& o) {
  check_row_options(o);
  style_named(all_prompt_styles(), o.prompt);  // for its error, before any file is read
  check_steps(o);
  check_output(o);
  check_adapter(o);
  parse_schedule(o.lr_scheduler_type);
}

}  // namespace vlm2vec
