// The option list of `eval` (vlm/model_options.h explains option lists).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "vlm/model_options.h"

namespace vlm2vec {

struct EvalOptions : ModelOptions {
  std::string dataset_name, dataset_config, data_basedir, retrieval_file, image_dir, encode_output_path,
      embedding_cache, prompt, prompt_variants, bad_rows = "error", missing_sets = "error";
  int64_t num_candidates = 0;
  std::vector<std::string> subset_name;
  int64_t per_device_eval_batch_size = 32;
  bool save_embeddings = true, overwrite = false;

  template <class Visit>
  void fields(Visit&& visit) {
    ModelOptions::fields(visit);
    section(visit, "Data");
    visit("dataset_name", dataset_name, "<DIR> folder of test sets, one folder each (MMEB-eval)");
    visit("subset_name", subset_name, "<NAME> use only these sets of the folder");
    visit("dataset_config", dataset_config, "<FILE> official YAML file that names the sets, instead of a folder");
    visit("data_basedir", data_basedir, "<DIR> joined before relative folders in dataset_config");
    visit("retrieval_file", retrieval_file,
          "<FILE> instead of a folder: rows {\"filename\": picture, \"caption\": [texts]}, as in Flickr30K; measures "
          "recall "
          "both ways among all rows");
    visit("image_dir", image_dir,
          "<PATH> joined before the rows' picture paths, or a zip or tar file. Zips and tars in it, its images_zip and "
          "its images are read in place (default: dataset_name, or the folder of retrieval_file)");
    visit("missing_sets", missing_sets,
          "<error|skip> sets of subset_name or dataset_config that have no file of rows: error stops; skip evaluates "
          "the other sets "
          "and lists the missing ones in summary.json");
    visit("num_candidates", num_candidates,
          "limit or extend every query's candidates to N, sampled from its row, then from the whole set (not for "
          "classification). 0: as in the data");
    visit("prompt", prompt,
          "<STYLE> builds each prompt anew, in a style of the model as in embed, from the row's own words, with MMEB's "
          "instructions where the style has them (default: the stored texts)");
    visit("prompt_variants", prompt_variants,
          "<FILE> JSON file {\"Set\": [\"instruction\", ...]}, or \"*\" for all sets: measures how far other "
          "instructions move the scores");
    section(visit, "Output");
    visit("encode_output_path", encode_output_path,
          "<DIR> folder for scores, predictions, embeddings and summary.json");
    visit("save_embeddings", save_embeddings, "also write the vectors of each set: {set}_qry.npy, {set}_tgt.npy");
    visit("per_device_eval_batch_size", per_device_eval_batch_size,
          "inputs embedded at a time; scores do not depend on it");
    visit("embedding_cache", embedding_cache,
          "<DIR> folder that keeps vectors for later runs with the same model, options, text and pictures");
    visit("bad_rows", bad_rows,
          "<error|skip> inputs that cannot be used: unreadable picture, empty side, image tokens that do not match. "
          "error: stop there. skip: leave out the row if its query or right answer is the fault, else only the "
          "candidate; list all");
    visit("overwrite", overwrite,
          "evaluate all sets again and replace encode_output_path at the end (False: evaluate only missing sets, and "
          "refuse a folder with other options or another model)");
  }
};

}  // namespace vlm2vec
