#include "mmeb/data/dataset_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "io/files.h"
#include "io/nearest.h"
#include "io/text.h"
#include "mmeb/data/row_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// Keys of the official entries for videos, documents and other models, without effect here.
const std::set<std::string> kWithoutMeaning = {"data_mode", "dataset_path", "global_dataset_name", "num_frames",
                                               "num_rows"};

std::string alternatives(const Words& words) { return joined(words, ", ", " or "); }

// One entry of a configuration: its values as text, each with its line.
class ConfigRow {
 public:
  ConfigRow(const fs::path& file, const YAML::Node& name, const YAML::Node& values, const Words& parsers,
            const Words& keys, std::set<std::string>& without_meaning)
      : file_(file.string()), name_(name.Scalar()), line_(name.Mark().line + 1) {
    if (!values.IsMap()) refuse(line_, name_, " is not a row; expected keys and values below it: ", alternatives(keys));
    std::map<std::string, int> lines;
    for (const auto& entry : values) {
      const YAML::Node &key = entry.first, &value = entry.second;
      const int line = key.Mark().line + 1;
      if (!key.IsScalar() || !(value.IsScalar() || value.IsNull()))
        refuse(line, name_, " has lists or maps as keys or values; expected numbers and texts");
      if (!lines.emplace(key.Scalar(), line).second) refuse(line, name_, " has the key ", key.Scalar(), " twice");
      if (!value.IsNull()) values_[key.Scalar()] = {value.Scalar(), line};  // null counts as absent
    }
    const std::string parser = text("dataset_parser");
    if (std::find(parsers.begin(), parsers.end(), parser) == parsers.end())
      refuse(line_of("dataset_parser"), name_, " has the dataset_parser ", parser, "; rows of ", alternatives(parsers),
             " are read (no videos, no visual documents); remove this entry");
    for (const auto& [key, line] : lines) {
      if (has(key) && kWithoutMeaning.contains(key)) without_meaning.insert(key);
      if (!kWithoutMeaning.contains(key) && std::find(keys.begin(), keys.end(), key) == keys.end())
        refuse(line, name_, " has the key ", key, ", which is not known", nearest_hint(key, keys));
    }
  }

  const std::string& name() const { return name_; }
  std::string text(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end() || found->second.text.empty()) refuse(line_, name_, " has no ", key);
    return found->second.text;
  }
  std::string text(const std::string& key, const std::string& standard) const {
    return has(key) ? text(key) : standard;
  }
  double number(const std::string& key, double standard) const {
    if (!has(key)) return standard;
    std::string digits = text(key);  // Python's YAML allows 100_000
    std::erase(digits, '_');
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value) || value < 0)
      wrong(key, "a number, not negative");
    return value;
  }
  fs::path folder(const std::string& key, const fs::path& basedir, const fs::path& standard = {}) const {
    return has(key) || standard.empty() ? basedir / text(key) : standard;
  }
  // Returns the file of the entry's split in a folder.
  fs::path split(const fs::path& folder, const std::string& standard) const {
    const std::string split = text("dataset_split", standard);
    if (split.find('/') != split.npos) wrong("dataset_split", "a name such as " + standard);
    return split_file(folder, split);
  }
  int64_t limit() const {  // > 0: only the first rows
    const double limit = number("num_sample_per_subset", 0);
    if (limit != std::floor(limit) || limit > 1e15) wrong("num_sample_per_subset", "a whole number");
    return int64_t(limit);
  }
  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const {
    refuse(line_of(key), name_, " has the ", key, " ", text(key), ", expected ", expected);
  }

 private:
  struct Value {
    std::string text;
    int line;
  };
  bool has(const std::string& key) const { return values_.contains(key); }
  int line_of(const std::string& key) const { return values_.at(key).line; }
  template <class... Parts>
  [[noreturn]] void refuse(int line, const Parts&... parts) const {
    fail(Exit::data, file_, ":", line, ": ", parts...);
  }

  std::string file_, name_;
  int line_;
  std::map<std::string, Value> values_;
};

DatasetConfig read_config(const fs::path& file, const Words& parsers, const Words& keys,
                          const std::function<SetSource(const ConfigRow&)>& make) {
  DatasetConfig config;
  std::set<std::string> names, without_meaning;
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(read_text(file));
    if (documents.size() > 1)
      fail(Exit::data, file.string(), ": has ", documents.size(),
           " YAML documents, expected one; remove the lines ---");
    const YAML::Node content = documents.empty() ? YAML::Node() : documents[0];
    if (!content.IsMap() || content.size() == 0)
      fail(Exit::data, file.string(), ": is not a data configuration; expected names of data sets, each with ",
           alternatives(keys));
    for (const auto& entry : content) {
      const YAML::Node& name = entry.first;
      if (!name.IsScalar()) fail(Exit::data, file.string(), ":", name.Mark().line + 1, ": expected a name");
      if (!names.insert(name.Scalar()).second)
        fail(Exit::data, file.string(), ":", name.Mark().line + 1, ": ", name.Scalar(), " is there twice");
      config.sources.push_back(make(ConfigRow(file, name, entry.second, parsers, keys, without_meaning)));
    }
  } catch (const YAML::Exception& e) {
    fail(Exit::data, file.string(), ":", e.mark.line + 1, ": is not valid YAML: ", e.msg);
  }
  if (!without_meaning.empty())
    config.note =
        sentence(file.string(), ": keys that change nothing for these sets: ", joined(without_meaning, ", ", " and "));
  return config;
}

}  // namespace

DatasetConfig read_train_config(const fs::path& file, const fs::path& basedir) {
  return read_config(file, {"mmeb", "mmeb_neg"},
                     {"dataset_parser", "dataset_name", "subset_name", "dataset_split", "image_dir",
                      "num_sample_per_subset", "weight"},
                     [&](const ConfigRow& row) {
                       const fs::path folder = row.folder("dataset_name", basedir);
                       const double weight = row.number("weight", 1);
                       if (weight == 0) row.wrong("weight", "more than 0; remove the set instead");
                       return SetSource{row.name(), row.split(folder / row.text("subset_name"), "original"),
                                        row.folder("image_dir", basedir, folder), row.limit(), weight};
                     });
}

DatasetConfig read_eval_config(const fs::path& file, const fs::path& basedir) {
  return read_config(
      file, {"image_cls", "image_qa", "image_i2t", "image_t2i", "image_i2i_vg"},
      {"dataset_parser", "dataset_name", "dataset_split", "image_root", "eval_type", "num_sample_per_subset"},
      [&](const ConfigRow& row) {
        const std::string type = row.text("eval_type", "local");
        if (type != "local" && type != "global") row.wrong("eval_type", "local or global");
        return SetSource{row.name(),
                         row.split(row.folder("dataset_name", basedir), "test"),
                         row.folder("image_root", basedir),
                         row.limit(),
                         1,
                         type == "global"};
      });
}

}  // namespace vlm2vec
