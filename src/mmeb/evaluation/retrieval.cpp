#include "mmeb/evaluation/retrieval.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "io/files.h"
#include "io/interrupt.h"
#include "io/json_lines.h"
#include "io/progress.h"
#include "io/text.h"
#include "mmeb/data/row_files.h"
#include "mmeb/data/row_pictures.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/evaluation_files.h"
#include "mmeb/evaluation/evaluation_folder.h"
#include "mmeb/evaluation/metrics.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/registry/registry.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kPictureText = "<|image_1|> Find an image caption describing the given image.";

// Evaluates one direction: every query against the whole pool. The name of a picture, and of its captions, is the
// picture's. Writes {name}_pred.jsonl to `output`; returns the scores, and their JSON for the score file.
std::pair<RecallScore, Json> evaluate_direction(const std::string& name, const Tensor& embeddings,
                                                const std::vector<int32_t>& queries,
                                                const std::vector<std::string>& query_names,
                                                const std::vector<int32_t>& pool,
                                                const std::vector<std::string>& pool_names, const fs::path& output) {
  const Scorer scorer(embeddings, Score::dot);
  std::vector<std::vector<int32_t>> best(queries.size());
  parallel_each(queries.size(), [&](size_t i) { best[i] = best_first(scorer(queries[i], pool), kLastRank); });
  std::vector<RankedNames> predictions;
  for (size_t i = 0; i < queries.size(); ++i) {
    predictions.push_back({{}, {query_names[i]}});
    for (const int32_t place : best[i]) predictions.back().prediction.push_back(pool_names[size_t(place)]);
  }
  RecallScore score{name, {}, int64_t(queries.size()), int64_t(pool.size())};
  Json json;
  size_t next = 0;
  for (const auto& [key, value] : ranking_metrics(predictions))
    if (key.starts_with("recall@")) json[key] = value, score.recall[next++] = 100 * value;
  json["num_pred"] = queries.size();
  json["num_data"] = queries.size();
  json["num_candidates"] = pool.size();
  if (output.empty()) return {score, json};
  write_lines(output / (name + "_pred.jsonl"), queries.size(), [&](size_t i) {
    return Json{{"prediction", predictions[i].prediction}, {"label", predictions[i].label}, {"rel_scores", nullptr}}
        .dump();
  });
  return {score, json};
}

// Returns all files of both ways; the second way's scores are the mark.
FileGroup group_of_pictures(const std::string& name) {
  FileGroup group{name, {}, {}};
  for (const char* what : {"_i2t_pred.jsonl", "_t2i_pred.jsonl", "_i2t_score.json", "_t2i_score.json"})
    group.files.push_back(name + what);
  for (const char* what : {"_image.npy", "_image_ids.jsonl", "_text.npy", "_text_ids.jsonl"})
    group.optional.push_back(name + what);
  return group;
}

}  // namespace

std::vector<EvalRow> read_captioned_pictures(const fs::path& file, const Pictures& pictures) {
  std::vector<EvalRow> rows;
  std::set<std::string> seen;
  read_rows(file, {"filename", "image", "caption"}, [&](const Json& row) {
    const auto held = row.find("image");  // beside a filename, it may hold the picture's bytes
    const bool has_bytes = held != row.end() && (held->is_object() || held->is_binary());
    const char* const name = has_bytes || (!row.contains("filename") && held != row.end()) ? "image" : "filename";
    const std::string image = picture_name(field(row, name), name, pictures);
    const std::vector<std::string> captions = text_list_field(row, "caption");
    if (image.empty() || captions.empty()) fail(Exit::data, "has no picture or no caption");
    if (!seen.insert(image).second) fail(Exit::data, "names the picture ", one_line(image, 200), " a second time");
    rows.push_back({{kPictureText, image}, {}, {}});
    for (const std::string& caption : captions) rows.back().candidates.emplace_back(caption);
  });
  if (rows.empty()) fail(Exit::data, file.string(), ": has no rows");
  return rows;
}

std::vector<RecallScore> evaluate_retrieval(const std::string& name, const std::vector<EvalRow>& rows,
                                            const Pictures& image_dir, const std::string& image_token,
                                            const PromptStyle* style, const EmbedFunction& embed,
                                            const fs::path& output, bool save_embeddings) {
  EvaluationSet set;
  set.name = name, set.style = style, set.query_form = kPictureText;
  std::vector<int32_t> pictures, captions;
  std::vector<std::string> picture_names, caption_names;
  for (size_t i = 0; i < rows.size(); ++i) {
    pictures.push_back(set.number(rows[i].query, i));
    picture_names.push_back(rows[i].query.image());
    for (const Side& caption : rows[i].candidates) {
      captions.push_back(set.number(caption, i, int32_t(&caption - rows[i].candidates.data())));
      caption_names.push_back(rows[i].query.image());
    }
  }
  PictureCheck check(image_dir);
  check_pictures(set, check);
  check_texts(set, image_token);
  check.require_all();
  const InterruptGuard guard;  // a signal waits until all files under way are complete
  std::optional<EvaluationFolder> folder;
  if (!output.empty()) folder.emplace(output, true);
  const Tensor embeddings = embed(encoder_inputs(set, image_token, image_dir), name).vectors;
  std::vector<RecallScore> scores;
  const auto evaluate_both = [&](const fs::path& place) {
    const auto i2t =
        evaluate_direction(name + "_i2t", embeddings, pictures, picture_names, captions, caption_names, place);
    const auto t2i =
        evaluate_direction(name + "_t2i", embeddings, captions, caption_names, pictures, picture_names, place);
    scores = {i2t.first, t2i.first};
    if (place.empty()) return t2i.second;
    if (save_embeddings) {
      write_embeddings(place / (name + "_image"), embeddings, set.sides, pictures);
      write_embeddings(place / (name + "_text"), embeddings, set.sides, captions);
    }
    write_text(place / (name + "_i2t_score.json"), i2t.second.dump(2) + "\n");
    return t2i.second;
  };
  if (folder) {
    const FileGroup group = group_of_pictures(name);
    folder->add(group, evaluate_both);
    folder->finish({group}, "");
  } else {
    evaluate_both("");
  }
  return scores;
}

std::vector<RecallScore> evaluate_retrieval(const EvalOptions& o, Device device, bool quiet) {
  const fs::path file = o.retrieval_file;
  const Pictures image_dir(o.image_dir.empty() ? file.parent_path() : fs::path(o.image_dir));
  const std::vector<EvalRow> rows = read_captioned_pictures(file, image_dir);  // before the model is loaded
  Embedder embedder(o, o.embedding_cache, device, quiet);
  Progress progress("eval", 1, quiet);
  const auto embed_all = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const auto update = [&](int64_t done) {
      if (interrupted() && done < int64_t(inputs.size()))
        fail(interrupt_exit(), "eval: interrupted; nothing was written; ", embedder.how_to_go_on());
      progress.update(0, sentence(name, " ", done, "/", inputs.size()));
    };
    update(0);
    EmbeddedRows embedded = embedder.embed(inputs, o.per_device_eval_batch_size, update);
    embedder.model_hash().require_unchanged();
    progress.note(embedded.cut.note(o.max_len));
    return embedded;
  };
  const Encoder& encoder = embedder.encoder();
  const PromptStyle* const style = style_named(encoder.family, o.prompt);
  auto scores = evaluate_retrieval(file.stem().string(), rows, image_dir, encoder.image_token(), style, embed_all,
                                   o.encode_output_path, o.save_embeddings);
  progress.update(1);
  progress.note(embedder.encoder().processor.picture_note());
  progress.note(embedder.cache_note());
  return scores;
}

std::string recall_table(const std::vector<RecallScore>& scores) {
  const auto line = [](std::string title, const auto& recall, const std::string& note) {
    title.resize(std::max(title.size(), size_t(36)), ' ');
    return title + formatted("%8.1f%8.1f%8.1f   ", recall[0], recall[1], recall[2]) + note + "\n";
  };
  std::string table = "Recall, %                                 @1      @5     @10\n" + std::string(60, '-') + "\n";
  for (const RecallScore& score : scores)
    table +=
        line(score.name, score.recall, sentence("of ", score.queries, " queries, ", score.candidates, " candidates"));
  if (scores.size() != 2 || scores[0].queries != 1000 || scores[0].candidates != 5000) return table;
  table += "Published on Flickr30K, which also has 1000 pictures with 5 captions each:\n";
  for (const PublishedRecall& published : published_flickr30k())
    table += line(published.model + " i2t", published.i2t, published.source) +
             line(published.model + " t2i", published.t2i, published.source);
  return table;
}

}  // namespace vlm2vec
