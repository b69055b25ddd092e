// Recall among a whole pool, as Flickr30K is evaluated: pictures with captions each, both ways. Recall@k is the share
// of queries with something right among the first k (any caption of the picture; the caption's picture).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/eval_options.h"
#include "mmeb/evaluation/evaluation_set.h"

namespace vlm2vec {

// Pictures as queries, each with its own captions as candidates, from rows {"filename" or "image": path,
// "caption": [texts]}, JSON lines or Parquet. The picture's text is VLM2Vec's: "<|image_1|> Find an image caption
// describing the given image."
std::vector<EvalRow> read_captioned_pictures(const std::filesystem::path& file, const Pictures& pictures = {});

struct RecallScore {
  std::string name;              // {name}_i2t, {name}_t2i
  double recall[3] = {0, 0, 0};  // at 1, 5, 10; percent
  int64_t queries = 0, candidates = 0;
};

// Evaluates both ways and writes, unless `output` is empty, {name}_i2t_score.json and {name}_t2i_score.json (recall@1,
// @5,
// @10, num_pred, num_data, num_candidates), their _pred.jsonl (the pictures of the first ten), and, if wanted,
// {name}_image.npy and {name}_text.npy with their _ids.jsonl.
std::vector<RecallScore> evaluate_retrieval(const std::string& name, const std::vector<EvalRow>& rows,
                                            const Pictures& pictures, const std::string& image_token,
                                            const EmbedFunction& embed, const std::filesystem::path& output,
                                            bool save_embeddings = true);
// `eval --retrieval_file`: loads the model, evaluates, reports progress on stderr.
std::vector<RecallScore> evaluate_retrieval(const EvalOptions& options, Device device, bool quiet);

// With published recall below, if these are as many pictures and captions as Flickr30K's test set has.
std::string recall_table(const std::vector<RecallScore>& scores);

}  // namespace vlm2vec
