// Recall within a whole pool of pictures and their captions, both ways, as on Flickr30K. Recall@k is the share of
// queries with a right answer among the first k: any caption of the picture, or the caption's picture.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/eval_options.h"
#include "mmeb/evaluation/evaluation_set.h"

namespace vlm2vec {

// Reads rows {"filename" or "image": path, "caption": [texts]}, JSON lines or Parquet. A picture becomes a query with
// its captions as candidates. Its text is VLM2Vec's: "<|image_1|> Find an image caption describing the given image."
std::vector<EvalRow> read_captioned_pictures(const std::filesystem::path& file, const Pictures& pictures = {});

struct RecallScore {
  std::string name;              // {name}_i2t, {name}_t2i
  double recall[3] = {0, 0, 0};  // at 1, 5, 10; percent
  int64_t queries = 0, candidates = 0;
};

// Evaluates both ways. Unless `output` is empty, writes {name}_i2t_score.json and {name}_t2i_score.json (recall@1, @5,
// @10, num_pred, num_data, num_candidates) and their _pred.jsonl (the pictures of the first ten). With embeddings, it
// also writes {name}_image.npy and {name}_text.npy with their _ids.jsonl.
std::vector<RecallScore> evaluate_retrieval(const std::string& name, const std::vector<EvalRow>& rows,
                                            const Pictures& pictures, const std::string& image_token,
                                            const PromptStyle* style, const EmbedFunction& embed,
                                            const std::filesystem::path& output, bool save_embeddings = true);
// `eval --retrieval_file`: loads the model, evaluates, reports progress on stderr.
std::vector<RecallScore> evaluate_retrieval(const EvalOptions& options, Device device, bool quiet);

// Adds published recall if the numbers of pictures and captions are those of Flickr30K's test set.
std::string recall_table(const std::vector<RecallScore>& scores);

}  // namespace vlm2vec
