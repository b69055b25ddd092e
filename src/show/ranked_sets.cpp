#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/json_lines.h"
#include "mmeb/data/dataset_config.h"
#include "mmeb/data/row_pictures.h"
#include "mmeb/evaluation/candidate_lists.h"
#include "show/run.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Returns the sources of the rows of an evaluation's sets.
std::vector<SetSource> sources_of(const EvaluationRun& evaluation) {
  const Json options = Json::parse(evaluation.summary.options);
  if (options.value("num_candidates", 0) > 0)
    fail(Exit::data, "it was made with --num_candidates, and drawn candidates are not stored");
  if (const fs::path config = options.value("dataset_config", ""); !config.empty())
    return read_eval_config(config, options.value("data_basedir", "")).sources;
  fs::path data = options.value("dataset_name", "");
  if (const fs::path beside = evaluation.folder.parent_path() / "data" / (data / "").parent_path().filename();
      !fs::is_directory(data) && fs::is_directory(beside))
    data = beside;
  std::vector<std::string> names;
  for (const SetScore& set : evaluation.summary.sets) names.push_back(set.name);
  return eval_folder(data, names, options.value("image_dir", ""));
}

// Reads the vectors of {stem}.npy into the rows of `embeddings`; {stem}_ids.jsonl names the side of each vector.
void read_vectors(const fs::path& stem, const std::map<Side, int64_t>& places, Tensor& embeddings,
                  std::vector<bool>& filled) {
  const Tensor vectors = read_npy(stem.string() + ".npy");
  if (vectors.shape().size() != 2 || vectors.dtype() != DType::f32)
    fail(Exit::data, stem.string(), ".npy: is not a matrix of f32");
  const int64_t d = vectors.columns();
  if (!embeddings.defined()) embeddings = Tensor({int64_t(filled.size()), d}, DType::f32, Device::cpu);
  int64_t row = 0;
  read_json_lines(stem.string() + "_ids.jsonl", [&](const Json& line) {
    const auto found = places.find({text_field(line, "text"), pictures_field(line, "img_path", {})});
    if (row < vectors.rows() && d == embeddings.columns() && found != places.end()) {
      std::memcpy(embeddings.data<float>() + found->second * d, vectors.data<float>() + row * d,
                  size_t(d) * sizeof(float));
      filled[size_t(found->second)] = true;
    }
    ++row;
  });
}

RankedSet read_set(const SetSource& source, const SetScore& score, const fs::path& folder) {
  if (score.skipped + score.skipped_candidates > 0)
    fail(Exit::data, "rows or candidates of ", source.name, " were left out (--bad_rows skip)");
  RankedSet set;
  set.rows.name = source.name;
  set.task = score.task, set.pictures = Pictures(source.image_dir);
  read_eval_rows(
      source.file, [&](const EvalRow& row) { set.rows.add(row); }, source.limit, set.pictures);
  if (score.global) set.rows.lists = with_all_candidates(set.rows);
  std::map<Side, int64_t> places;
  for (size_t i = 0; i < set.rows.sides.size(); ++i) places[set.rows.sides[i]] = int64_t(i);
  std::vector<bool> filled(places.size());
  for (const char* what : {"_qry", "_tgt"}) {
    const fs::path stem = folder / (source.name + what);
    if (!fs::exists(stem.string() + ".npy")) fail(Exit::data, "its vectors were not kept (--save_embeddings)");
    read_vectors(stem, places, set.embeddings, filled);
  }
  for (size_t i = 0; i < filled.size(); ++i)
    if (!filled[i]) fail(Exit::data, "the data has rows that were not evaluated; has it changed since?");
  set.results = rank(set.embeddings, set.rows, set.rows.queries);
  int64_t correct = 0;
  for (const RowResult& result : set.results) correct += result.correct;
  if (correct != score.correct || int64_t(set.results.size()) != score.rows)
    fail(Exit::data, "its vectors get ", correct, " of ", set.results.size(), " rows right, its summary.json says ",
         score.correct, " of ", score.rows);
  return set;
}

}  // namespace

std::vector<RankedSet> read_ranked_sets(const EvaluationRun& evaluation, std::vector<std::string>& missing) {
  std::vector<RankedSet> sets;
  const auto leave_out = [&](const std::string& what, const auto& action) {
    try {
      action();
    } catch (const Error& e) {
      if (e.code == Exit::resources) throw;
      missing.push_back(sentence("Examples of ", what, " in ", evaluation.title(), " are not shown: ", e.what(), "."));
    }
  };
  leave_out("all sets", [&] {
    for (const SetSource& source : sources_of(evaluation))
      for (const SetScore& score : evaluation.summary.sets)
        if (score.name == source.name)
          leave_out(source.name, [&] { sets.push_back(read_set(source, score, evaluation.folder)); });
  });
  return sets;
}

}  // namespace vlm2vec
