#include "cli/metavariables.h"

#include <sstream>

namespace vlm2vec {
namespace {

struct Kind {
  const char *metavariable, *options;
};
constexpr Kind kKinds[] = {
    {"DIR",
     "adapter beside data_basedir dataset_name embedding_cache encode_output_path logging_dir model_name output_dir "
     "reference tokenizer train_tokenizer"},
    {"FILE",
     "batches config dataset_config dump heat_map image index input output prompt_variants queries retrieval_file "
     "target_image train_file"},
    {"PATH", "image_dir"},  // a folder or an archive
    {"NAME", "columns data_source dataset_split freeze lora_target_modules model_backbone run_name subset_name"},
    {"URL", "url"},
    {"DATE", "model_release_date"},
    {"WIDTHxHEIGHT", "resize"},
    {"raw|vlm2vec-v1|vlm2vec-v2", "prompt"},
    {"f32|bf16", "precision dtype"},
    {"cpu|emu|cuda", "device"},
    {"high|mid|low|WORD", "image_resolution"},
    {"1d|3d", "image_positions"},
    {"hub|official", "adapter_names"},
    {"nearest|box|bilinear|bicubic|lanczos", "filter"},
    {"shuffled|interleaved|balanced", "sampling"},
    {"all_exhausted|first_exhausted", "interleave_stopping_strategy"},
    {"linear|cosine|constant|constant_with_warmup", "lr_scheduler_type"},
    {"none|tensorboard", "report_to"},
    {"none|auto|N", "resume_from"},
    {"error|skip", "bad_rows missing_sets"},
    {"steps|no", "save_strategy"},
    {"size|base64", "binary"},
};

}  // namespace

std::string metavariable(const std::string& command, const std::string& option) {
  if (command == "leaderboard" && option == "model_name") return "NAME";
  for (const auto& [metavariable, options] : kKinds) {
    std::istringstream words(options);
    for (std::string word; words >> word;)
      if (word == option) return metavariable;
  }
  return "TEXT";
}

}  // namespace vlm2vec
