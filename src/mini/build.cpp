#include "mini/build.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/interrupt.h"
#include "io/text.h"
#include "tensor/parallel.h"

namespace vlm2vec::mini {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
namespace {

constexpr uint64_t test_seed = 241005160;
const std::string format = "vlm2vec miniature MMEB 1";

// The files that one set wrote.
struct Written {
  int rows = 0, pictures = 0;
  std::string rows_sha256, pixels_sha256;
  std::set<Digest> pairs;
};

std::string file_name(int picture) { return formatted("%06d.png", picture); }

std::string json_line(const Row& row, const std::string& image_folder, bool test) {
  const auto path = [&](const Side& side) {
    return side.picture == no_picture ? "" : image_folder + "/" + file_name(side.picture);
  };
  const Side& positive = row.candidates[0];
  Json line;
  if (test) {
    line = {{"qry_text", row.query.text},
            {"qry_img_path", path(row.query)},
            {"tgt_text", Json::array()},
            {"tgt_img_path", Json::array()}};
    for (const Side& side : row.candidates) {
      line["tgt_text"].push_back(side.text);
      line["tgt_img_path"].push_back(path(side));
    }
  } else {
    line = {{"qry", row.query.text},
            {"qry_image_path", path(row.query)},
            {"pos_text", positive.text},
            {"pos_image_path", path(positive)}};
  }
  return line.dump() + "\n";
}

// Throws, so that the half-built folder is removed on the way out.
void throw_if_interrupted() {
  if (interrupted()) fail(interrupt_exit(), "data mini: interrupted; nothing was written");
}

// Writes the rows and their pictures; scenes of the pool that no row uses are left out.
Written write_set(const fs::path& folder, const std::string& name, const Album& album, const std::vector<Row>& rows,
                  bool test) {
  const fs::path root = folder / (test ? "MMEB-eval" : "MMEB-train");
  const std::string images = "images/" + name + (test ? "" : "/Train");
  fs::create_directories(root / name);
  fs::create_directories(root / images);
  std::string lines, digests;
  std::set<int> used;
  Written written{.rows = int(rows.size())};
  for (const Row& row : rows) {
    lines += json_line(row, images, test);
    written.pairs.insert(pair_digest(album, row));
    used.insert(row.query.picture);
    for (const Side& side : row.candidates) used.insert(side.picture);
  }
  used.erase(no_picture);
  for (const int picture : used) {
    throw_if_interrupted();
    write_png(root / images / file_name(picture), album.pictures()[picture]);
    digests.append(album.digest(picture).begin(), album.digest(picture).end());
  }
  write_text(root / name / (test ? "test.jsonl" : "original.jsonl"), lines);
  written.pictures = int(used.size());
  written.rows_sha256 = hex(sha256(lines));
  written.pixels_sha256 = hex(sha256(digests));
  return written;
}

// Throws if the folder holds anything but an earlier miniature MMEB.
void check_output(const fs::path& folder) {
  check_replaceable(folder, {"MMEB-train", "MMEB-eval", "tasks.json", "manifest.json"}, "a miniature MMEB");
  if (!fs::exists(folder) || fs::is_empty(folder)) return;
  const fs::path manifest_path = folder / "manifest.json";
  const Json manifest = fs::exists(manifest_path) ? Json::parse(read_text(manifest_path), nullptr, false) : Json();
  if (!manifest.is_object() || manifest.value("format", Json()) != format)
    fail(Exit::usage, folder.string(),
         ": is not empty and has no manifest.json of a miniature MMEB; name another folder or empty this one");
  std::set<std::string> names = {"images"};
  for (const Json& set : manifest.value("sets", Json::array()))
    if (set.is_object()) names.insert(set.value("name", ""));
  for (const char* below : {"MMEB-train", "MMEB-eval"}) check_replaceable(folder / below, names, "a miniature MMEB");
}

Json task_table(const std::vector<Task>& tasks) {
  Json table = Json::array();
  for (const Task& task : tasks)
    table.push_back(
        {{"name", task.name}, {"meta_task", task.meta_task}, {"split", task.split}, {"optional", task.optional}});
  return {{"datasets", table}};
}

Json manifest_of(const MiniOptions& options, const World& world, const MiniSummary& summary,
                 const std::vector<Written>& train, const std::vector<Written>& test) {
  Json sources = Json::array(), skipped = Json::array(), sets = Json::array();
  for (const World::Source& s : world.read)
    sources.push_back({{"file", s.file}, {"package", s.package}, {"sha256", s.sha256}});
  for (const MiniSummary::Skipped& s : summary.skipped) skipped.push_back({{"name", s.name}, {"reason", s.reason}});
  const auto add = [&](size_t i, const std::string& split, const Written& w) {
    sets.push_back({{"name", summary.sets[i].task.name},
                    {"split", split},
                    {"rows", w.rows},
                    {"pictures", w.pictures},
                    {"rows_sha256", w.rows_sha256},
                    {"pixels_sha256", w.pixels_sha256}});
  };
  for (size_t i = 0; i < summary.sets.size(); ++i) {
    if (train[i].rows) add(i, "train", train[i]);
    add(i, "test", test[i]);
  }
  return {{"format", format},
          {"seed", options.seed},
          {"train_rows", options.train_rows},
          {"test_rows", options.test_rows},
          {"sources", sources},
          {"skipped", skipped},
          {"sets", sets}};
}

// Checks the rows by their digest and the pictures by their count.
bool is_there(const fs::path& folder, const Json& set) {
  const bool test = set.at("split") == "test";
  const std::string name = set.at("name");
  const fs::path root = folder / (test ? "MMEB-eval" : "MMEB-train");
  const fs::path rows = root / name / (test ? "test.jsonl" : "original.jsonl");
  const fs::path images = root / "images" / name / (test ? "" : "Train");
  if (!fs::is_regular_file(rows) || !fs::is_directory(images)) return false;
  const auto pictures = std::count_if(fs::directory_iterator(images), fs::directory_iterator(),
                                      [](const auto& entry) { return entry.path().extension() == ".png"; });
  return pictures == set.at("pictures") && hex(sha256(read_text(rows))) == set.at("rows_sha256");
}

// Fills the summary from the output folder if the folder matches the options; else returns false.
bool find_finished(const MiniOptions& options, const World& world, const std::vector<Task>& tasks,
                   MiniSummary& summary) {
  const fs::path folder = options.output_dir;
  try {
    const std::string text = read_text(folder / "manifest.json");
    const Json manifest = Json::parse(text), expected = manifest_of(options, world, summary, {}, {});
    for (const auto& [key, value] : expected.items())
      if (key != "sets" && manifest.at(key) != value) return false;
    if (read_text(folder / "tasks.json") != task_table(tasks).dump(2) + "\n") return false;
    std::vector<MiniSummary::Set> sets;
    for (const Task& task : tasks) sets.push_back({task, 0, 0, 0, 0});
    for (const Json& set : manifest.at("sets")) {
      const auto of_name = [&](const MiniSummary::Set& s) { return s.task.name == set.at("name"); };
      const auto found = std::find_if(sets.begin(), sets.end(), of_name);
      if (found == sets.end() || !is_there(folder, set)) return false;
      const bool test = set.at("split") == "test";
      (test ? found->test_rows : found->train_rows) = set.at("rows");
      (test ? found->test_pictures : found->train_pictures) = set.at("pictures");
    }
    summary.sets = std::move(sets), summary.sha256 = hex(sha256(text)), summary.kept = true;
    return true;
  } catch (const std::exception&) {  // the manifest is missing or damaged
    return false;
  }
}

// Builds all test sets or all training sets. A set's random stream depends on the seed and its place in the list only,
// so the sets can be drawn in parallel.
std::vector<Written> build_sets(const fs::path& folder, const World& world, const std::vector<Task>& tasks,
                                const MiniOptions& options, bool test, const std::set<Digest>& taken) {
  std::vector<Written> written(tasks.size());
  parallel_each(tasks.size(), [&](size_t i) {
    if (!test && tasks[i].split == "OOD") return;
    Album album(world, mix(mix(test ? test_seed : options.seed, uint64_t(i)), test), test);
    const std::vector<Row> rows = draw_rows(tasks[i], album, test ? options.test_rows : options.train_rows, taken);
    written[i] = write_set(folder, tasks[i].name, album, rows, test);
  });
  return written;
}

}  // namespace

Digest pair_digest(const Album& album, const Row& row) {
  return sha256(album.content(row.query) + album.content(row.candidates[0]));
}

std::vector<Row> draw_rows(const Task& task, Album& album, int count, const std::set<Digest>& taken) {
  std::vector<Row> rows;
  while (int(rows.size()) < count) {
    throw_if_interrupted();
    Row row = task.draw_row(album);
    if (!taken.contains(pair_digest(album, row))) rows.push_back(std::move(row));
  }
  return rows;
}

MiniSummary build_mini(const MiniOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  for (const auto& [option, rows] : {std::pair("--train_rows", options.train_rows), {"--test_rows", options.test_rows}})
    if (rows < 1 || rows > 100'000) fail(Exit::usage, "data mini: ", option, " is ", rows, "; expected 1 to 100000");
  if (options.output_dir.empty()) fail(Exit::usage, "data mini: --output_dir is empty; name a folder");
  check_output(options.output_dir);

  const InterruptGuard guard;
  const World world(options.sources);
  MiniSummary summary{.output_dir = options.output_dir};
  if (world.stamps.empty()) summary.skipped.push_back({"TuxPaint", world.without_stamps});
  const std::vector<Task> tasks = mini_tasks(world);
  const auto draw = [&](const fs::path& folder) {
    const std::vector<Written> test = build_sets(folder, world, tasks, options, true, {});
    std::set<Digest> taken;
    for (const Written& set : test) taken.insert(set.pairs.begin(), set.pairs.end());
    const std::vector<Written> train = build_sets(folder, world, tasks, options, false, taken);
    for (size_t i = 0; i < tasks.size(); ++i)
      summary.sets.push_back({tasks[i], train[i].rows, test[i].rows, train[i].pictures, test[i].pictures});
    const std::string manifest = manifest_of(options, world, summary, train, test).dump(2) + "\n";
    summary.sha256 = hex(sha256(manifest));
    write_text(folder / "tasks.json", task_table(tasks).dump(2) + "\n");
    write_text(folder / "manifest.json", manifest);
    throw_if_interrupted();
  };
  if (!find_finished(options, world, tasks, summary)) write_folder_atomically(options.output_dir, draw);
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return summary;
}

std::string describe(const MiniSummary& summary) {
  int train_rows = 0, test_rows = 0, pictures = 0;
  std::string text =
      formatted("%-14s %-14s %-5s %10s %10s %10s\n", "set", "meta-task", "split", "training", "test", "pictures");
  for (const MiniSummary::Set& set : summary.sets) {
    const int set_pictures = set.train_pictures + set.test_pictures;
    text += formatted("%-14s %-14s %-5s %10d %10d %10d%s\n", set.task.name.c_str(), set.task.meta_task.c_str(),
                      set.task.split.c_str(), set.train_rows, set.test_rows, set_pictures,
                      set.task.optional ? "  optional: not counted in OOD and Overall" : "");
    train_rows += set.train_rows, test_rows += set.test_rows, pictures += set_pictures;
  }
  text += formatted("%-14s %-14s %-5s %10d %10d %10d\n", "all", "", "", train_rows, test_rows, pictures);
  for (const MiniSummary::Skipped& skipped : summary.skipped)
    text += "left out: " + skipped.name + ": " + skipped.reason + "\n";
  const std::string folder = summary.output_dir.string();
  if (summary.kept) return text + folder + " already exists, with the same options and sources\n";
  return text + sentence("wrote ", folder, " in ", int(summary.seconds * 10) / 10.0, " s\n");
}

}  // namespace vlm2vec::mini
