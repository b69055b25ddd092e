#include "mmeb/data/dataset.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "io/hub.h"
#include "io/json_lines.h"
#include "io/nearest.h"
#include "io/text.h"
#include "mmeb/data/row_files.h"
#include "mmeb/data/row_pictures.h"
#include "mmeb/registry/registry.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Row = nlohmann::ordered_json;

// `positive` is the same row's. Negatives that are pictures without text, as in VisDial, get its text, or only the
// token if the positive is not a picture.
std::vector<Side> negative_sides(const Row& row, const Side& positive, const Pictures& pictures) {
  std::vector<Side> all;
  if (has_value(row, "neg_text") && row.contains("neg_image_path")) {
    all = sides_field(row, "neg_text", "neg_image_path", pictures);
  } else if (has_value(row, "neg_text")) {
    if (!row["neg_text"].is_array()) all.emplace_back(text_field(row, "neg_text"));
    else
      for (const std::string& text : text_list_field(row, "neg_text")) all.emplace_back(text);
  } else if (has_value(row, "neg_image_path")) {
    for (auto& images : picture_sides_field(row, "neg_image_path", pictures)) all.emplace_back("", std::move(images));
  }
  std::erase_if(all, [](const Side& side) { return side.empty(); });
  for (Side& side : all)
    if (side.text.empty()) side.text = positive.images.empty() ? "<|image_1|>" : positive.text;
  return all;
}

}  // namespace

PackedRows read_train_rows(const fs::path& file, int64_t limit, bool negatives, const Pictures& pictures,
                           const RowFault& fault) {
  std::vector<std::string> columns = {"qry", "qry_image_path", "pos_text", "pos_image_path"};
  if (negatives) columns.insert(columns.end(), {"neg_text", "neg_image_path"});
  PackedRows rows;
  const auto add = [&](const Row& row) {
    TrainRow train{{text_field(row, "qry"), pictures_field(row, "qry_image_path", pictures)},
                   sides_field(row, "pos_text", "pos_image_path", pictures),
                   {}};
    if (train.positives.empty()) fail(Exit::data, "pos_text is an empty list; expected at least one positive");
    if (negatives) train.negatives = negative_sides(row, train.positives[0], pictures);
    rows.add(train);
  };
  const auto keep = [&](const Error& error) { fault(error), rows.add_faulty(error.what()); };
  read_rows(file, columns, add, limit, fault ? keep : RowFault());
  if (rows.size() == 0) fail(Exit::data, file.string(), ": has no rows");
  rows.finish();
  return rows;
}

namespace {

bool has_negatives(const fs::path& file) {
  const std::vector<std::string> names = column_names(file);
  return std::count(names.begin(), names.end(), "neg_text") + std::count(names.begin(), names.end(), "neg_image_path");
}

}  // namespace

std::vector<TrainSet> read_train_sets(const std::vector<SetSource>& sources, bool negatives, const RowFault& fault) {
  std::map<fs::path, Pictures> pictures;  // sets of one folder share the index of its archives
  for (const SetSource& source : sources) pictures.try_emplace(source.image_dir, source.image_dir);
  std::vector<TrainSet> sets(sources.size());
  parallel_each(sources.size(), [&](size_t i) {
    const Pictures& here = pictures.at(sources[i].image_dir);
    sets[i] = {sources[i], read_train_rows(sources[i].file, sources[i].limit, negatives, here, fault), here};
    sets[i].unused_negatives = !negatives && sets[i].rows.fault(0).empty() && has_negatives(sources[i].file);
  });
  return sets;
}

void check_subset_name(const std::string& name, const std::vector<std::string>& known, const fs::path& folder,
                       const std::string& file) {
  if (std::find(known.begin(), known.end(), name) == known.end())
    fail(Exit::usage, "--subset_name: ", folder.string(), " has no set ", name, " with ", file,
         nearest_hint(name, known));
}

std::vector<std::string> list_subsets(const fs::path& folder, const std::string& file,
                                      const std::vector<std::string>& wanted, bool may_be_missing) {
  for (const std::string& name : wanted)
    if (std::count(wanted.begin(), wanted.end(), name) > 1)
      fail(Exit::usage, "--subset_name: ", name, " is named twice");
  require_folder(folder, "a folder of sets", HubKind::dataset);
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!row_files(entry.path() / file).empty()) found.push_back(entry.path().filename().string());
  std::sort(found.begin(), found.end());
  if (found.empty())
    fail(Exit::data, folder.string(), ": no set folder with ", file, " or its Parquet files in it",
         other_rows_hint(folder, {fs::path(file).stem().string()}));
  if (!may_be_missing)
    for (const std::string& name : wanted) check_subset_name(name, found, folder, file);
  return wanted.empty() ? found : wanted;
}

std::string other_rows_hint(const fs::path& folder, const std::set<std::string>& splits) {
  std::set<std::string> others, below, known = {"original", "diverse_instruction", "test"};
  known.insert(splits.begin(), splits.end());
  bool one_set = false;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable)) {
    one_set |= known.contains(split_of(entry.path()));
    for (const auto& file : fs::directory_iterator(entry, unreadable)) {
      others.insert(split_of(file.path()));
      for (const std::string& split : splits)
        if (!row_files(file.path() / (split + ".jsonl")).empty()) below.insert(entry.path().string());
    }
  }
  others.erase("");
  for (const std::string& split : splits) others.erase(split);
  const bool for_eval = others.erase("test"), test_only = splits == std::set<std::string>{"test"};
  return (!others.empty() ? "; there are rows called " + joined(others) +
                                (test_only ? ", but eval reads rows called test" : ", which --dataset_split can name")
          : for_eval      ? "; these are test rows, for eval; train reads " + *splits.begin() + ".jsonl"
                          : "") +
         (one_set ? "; this is a set folder, name its parent folder" : "") +
         (below.empty() ? "" : "; name " + *below.begin() + ", which has such sets");
}

std::vector<SetSource> train_folder(const fs::path& folder, const std::vector<std::string>& subsets,
                                    const std::string& split, bool may_be_missing) {
  std::vector<SetSource> sources;
  for (const std::string& name : list_subsets(folder, split + ".jsonl", subsets, may_be_missing))
    sources.push_back({name, split_file(folder / name, split), folder});
  return sources;
}

std::vector<SetSource> eval_folder(const fs::path& folder, const std::vector<std::string>& subsets,
                                   const fs::path& image_dir, bool may_be_missing) {
  std::vector<SetSource> sources;
  for (const std::string& name : list_subsets(folder, "test.jsonl", subsets, may_be_missing))
    sources.push_back({name, split_file(folder / name, "test"), image_dir.empty() ? folder : image_dir});
  return sources;
}

std::vector<std::string> leave_out_missing(std::vector<SetSource>& sources, bool skip) {
  std::vector<std::string> missing;
  const auto has_no_rows = [](const SetSource& source) { return row_files(source.file).empty(); };
  for (const SetSource& source : sources)
    if (has_no_rows(source)) missing.push_back(source.name);
  if (missing.empty()) return missing;
  const SetSource& first = *std::ranges::find_if(sources, has_no_rows);
  if (!skip || missing.size() == sources.size())
    fail(Exit::data, first.file.string(), ": no such file, and no Parquet file in its place; of ", sources.size(),
         missing.size() == sources.size()
             ? " sets none has rows"
             : sentence(" sets ", missing.size(), missing.size() == 1 ? " has" : " have", " no rows"),
         skip ? "" : " (--missing_sets skip continues without them)");
  std::erase_if(sources, has_no_rows);
  return missing;
}

std::string missing_sets_note(const std::string& command, const std::vector<std::string>& sets) {
  if (sets.empty()) return "";
  return sentence(command, ": ", sets.size(), sets.size() == 1 ? " set has" : " sets have", " no rows and ",
                  sets.size() == 1 ? "is" : "are", " left out: ", joined(sets));
}

std::string text_fault(const Side& side, const std::string& image_token) {
  const size_t pictures = side.images.size();
  return prompt_fault(place_pictures(side.text, pictures, image_token).text, pictures, image_token);
}

namespace {

EncoderInput input_of(Prompt prompt, const Side& side, const Pictures& image_dir, uint64_t key) {
  EncoderInput input{std::move(prompt.text), {}, key};
  for (const size_t picture : prompt.pictures) input.images.push_back(image_dir.locate(side.images[picture]));
  return input;
}

// Splits a stored text. Quotes around the own words, as of RefCOCO, are words too, as in MMEB_Test_Instruct.
PromptParts parts_of(const Side& side, const std::string& form, bool instructed) {
  PromptParts parts{"", own_words(side.text, form), side.images.size()};
  if (parts.text == side.text) return parts;
  const std::string before = form.substr(0, form.find('{'));
  if (instructed) parts.instruction = strip(place_pictures(before, 0, "").text, " \n\"");
  if (before.ends_with('"')) parts.text = '"' + parts.text + '"';
  return parts;
}

}  // namespace

EncoderInput encoder_input(const Side& side, const std::string& image_token, const Pictures& image_dir, uint64_t key) {
  return input_of(place_pictures(side.text, side.images.size(), image_token), side, image_dir, key);
}

EncoderInput encoder_input(const Side& side, bool is_query, const std::string& form, const PromptStyle& style,
                           const std::string& image_token, const Pictures& image_dir, uint64_t key) {
  Prompt prompt = style.build(parts_of(side, form, style.instructs(is_query)), image_token);
  EncoderInput input = input_of(std::move(prompt), side, image_dir, key);
  input.route = style.route, input.uncounted = style.uncounted;
  return input;
}

}  // namespace vlm2vec
