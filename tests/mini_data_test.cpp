// The sets of the miniature MMEB: the forms of their rows, what may not occur twice, and that equal options give equal
// files.
#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "io/files.h"
#include "io/interrupt.h"
#include "lines_of_json.h"
#include "mini/build.h"
#include "mini_fixture.h"
#include "tensor/parallel.h"

namespace vlm2vec::mini {
namespace {
using Json = nlohmann::json;

class MiniTasks : public WithFont {};
class MiniBuild : public WithFont {};

struct Expected {
  const char* name;
  const char* query;
  const char* positive;
  int candidates, width, height;
};

// "*" stands for the words that vary.
bool matches(const std::string& text, const std::string& pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return text == pattern;
  return text.size() >= pattern.size() - 1 && text.starts_with(pattern.substr(0, star)) &&
         text.ends_with(pattern.substr(star + 1));
}

TEST_F(MiniTasks, RowForms) {
#define IMAGE "<|image_1|>\n"
  const char *represent = IMAGE "Represent the image.\n", *crop = IMAGE "Represent the crop.\n";
  const std::vector<Expected> expected = {
      {"EmojiNet", IMAGE "Name the object.\n", "*", 71, 32, 32},
      {"EmojiKind", IMAGE "Name the kind of object.\n", "*", 71, 32, 32},
      {"GridQA", IMAGE "Answer the question: What is at the *?\n", "*", 51, 64, 64},
      {"RowQA", IMAGE "Answer the question: What is *?\n", "*", 51, 96, 32},
      {"ColourQA", IMAGE "Answer the question: What colour is the *?\n", "*", 9, 64, 64},
      {"Scene_t2i", "Find the image: *\n", represent, 50, 0, 0},
      {"Scene_i2t", IMAGE "Find the caption.\n", "*", 50, 64, 64},
      {"Twins", IMAGE "Find a similar image.\n", represent, 51, 32, 32},
      {"Recolour", IMAGE "Find the image with this change: *\n", represent, 27, 32, 32},
      {"CropLabel", IMAGE "Find the crop of: \"*\"\n", crop, 50, 64, 64},
      {"CropWhere", IMAGE "Find the crop at: \"*\"\n", crop, 50, 64, 64},
      {"EmojiNet-Gray", IMAGE "Name the object.\n", "*", 71, 32, 32},
      {"EmojiKind-New", IMAGE "Name the kind of object.\n", "*", 71, 32, 32},
      {"GridQA-Gray", IMAGE "Answer the question: What is at the *?\n", "*", 51, 64, 64},
      {"PairQA", IMAGE "Answer the question: What is on the *?\n", "*", 51, 64, 32},
      {"Twins-New", IMAGE "Find a similar image.\n", represent, 9, 32, 32},
      {"Pair_t2i", "Find the image: *\n", represent, 50, 0, 0},
      {"CropLabel-Row", IMAGE "Find the crop of: \"*\"\n", crop, 50, 96, 32},
      {"CropWhere-New", IMAGE "Find the crop at: \"*\"\n", crop, 50, 64, 64},
  };
#undef IMAGE
  const std::vector<Task> tasks = mini_tasks(world());
  ASSERT_EQ(tasks.size(), expected.size());
  std::map<std::string, int> groups;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Expected& e = expected[i];
    EXPECT_EQ(tasks[i].name, e.name);
    ++groups[tasks[i].meta_task], ++groups[tasks[i].split];
    Album test(world(), 7, true), train(world(), 7, false);
    for (const Row& row : draw_rows(tasks[i], train, 5, {})) EXPECT_EQ(row.candidates.size(), 1u);
    for (const Row& row : draw_rows(tasks[i], test, 20, {})) {
      EXPECT_TRUE(matches(row.query.text, e.query)) << row.query.text;
      EXPECT_TRUE(matches(row.candidates[0].text, e.positive)) << row.candidates[0].text;
      ASSERT_EQ(int(row.candidates.size()), e.candidates) << e.name;
      EXPECT_EQ(row.query.picture == no_picture, e.width == 0);
      if (e.width) {
        EXPECT_EQ(test.pictures()[row.query.picture].width, e.width);
        EXPECT_EQ(test.pictures()[row.query.picture].height, e.height);
      }
      std::set<std::string> contents;
      for (const Side& side : row.candidates) {
        EXPECT_EQ(side.picture == no_picture, !side.text.starts_with("<|image_1|>\n")) << side.text;
        EXPECT_EQ(side.picture == no_picture, !side.text.ends_with("\n")) << side.text;
        contents.insert(test.content(side));
      }
      EXPECT_EQ(contents.size(), row.candidates.size()) << e.name << ": a candidate occurs twice";
    }
  }
  EXPECT_EQ(groups["IND"], 11);
  EXPECT_EQ(groups["OOD"], 8);
  EXPECT_EQ(groups["classification"], 4);
  EXPECT_EQ(groups["vqa"], 5);
  EXPECT_EQ(groups["retrieval"], 6);
  EXPECT_EQ(groups["grounding"], 4);
}

const Task& task(const std::vector<Task>& tasks, const std::string& name) {
  return *std::find_if(tasks.begin(), tasks.end(), [&](const Task& t) { return t.name == name; });
}

TEST_F(MiniTasks, PositivesAreWhatTheQueryAsksFor) {
  const World& w = world();
  const std::vector<Task> tasks = mini_tasks(w);
  const std::vector<std::string> places = {"top left", "top right", "bottom left", "bottom right"};
  Album where(w, 3, true);
  for (const Row& row : draw_rows(task(tasks, "CropWhere"), where, 30, {})) {
    size_t cell = 0;
    while (!contains(row.query.text, '"' + places[cell] + '"')) ++cell;
    EXPECT_EQ(where.pictures()[row.candidates[0].picture],
              crop_cell(where.pictures()[row.query.picture], grid, int(cell)));
  }
  Album gray(w, 3, true);
  for (const Row& row : draw_rows(task(tasks, "GridQA-Gray"), gray, 5, {})) {
    const Image& image = gray.pictures()[row.query.picture];
    EXPECT_EQ(image, grayscale(image));
  }
  Album scenes(w, 3, true);  // five captions share two things with the positive, and none has the same three
  const auto things = [&](const std::string& caption) {
    std::set<std::string> found;
    std::string rest = caption;
    for (const std::string mark : {", ", " and "})
      for (size_t at; (at = rest.find(mark)) != std::string::npos; rest = rest.substr(at + mark.size()))
        found.insert(rest.substr(0, at));
    found.insert(rest);
    return found;
  };
  for (const Row& row : draw_rows(task(tasks, "Scene_i2t"), scenes, 10, {})) {
    const std::set<std::string> positive = things(row.candidates[0].text);
    ASSERT_EQ(positive.size(), 3u);
    for (size_t i = 1; i < row.candidates.size(); ++i) {
      const std::set<std::string> other = things(row.candidates[i].text);
      int shared = 0;
      for (const std::string& thing : other) shared += positive.contains(thing);
      EXPECT_LT(shared, 3);
      EXPECT_TRUE(i > 5 || shared == 2);
    }
  }
  Album kinds(w, 3, true);
  std::set<std::string> new_kinds;
  for (const Row& row : draw_rows(task(tasks, "EmojiKind-New"), kinds, 60, {}))
    new_kinds.insert(row.candidates[0].text);
  EXPECT_TRUE(new_kinds.contains("dishware"));
}

TEST_F(MiniTasks, TakenPairsAreDrawnAgain) {
  const std::vector<Task> tasks = mini_tasks(world());
  const Task& net = tasks[0];
  Album first(world(), 5, false), second(world(), 5, false);
  std::set<Digest> taken;
  for (const Row& row : draw_rows(net, first, 3, {})) taken.insert(pair_digest(first, row));
  ASSERT_EQ(taken.size(), 3u);
  const std::vector<Row> rows = draw_rows(net, second, 10, taken);
  EXPECT_EQ(rows.size(), 10u);
  for (const Row& row : rows) EXPECT_FALSE(taken.contains(pair_digest(second, row)));
}

MiniSummary build(const fs::path& folder, uint64_t seed, int train_rows = 20, int test_rows = 5) {
  return build_mini({.output_dir = folder,
                     .seed = seed,
                     .train_rows = train_rows,
                     .test_rows = test_rows,
                     .sources = without_stamps()});
}

TEST_F(MiniBuild, FilesAreComplete) {
  const TemporaryFolder folder("mini");
  const MiniSummary summary = build(folder / "mini", 1);
  EXPECT_EQ(summary.sets.size(), 19u);
  EXPECT_EQ(entries(folder), 1u);  // no temporary folder is left
  const Json tasks = read_json(folder / "mini/tasks.json")["datasets"];
  EXPECT_EQ(tasks.size(), 19u);
  EXPECT_EQ(tasks[0],
            (Json{{"name", "EmojiNet"}, {"meta_task", "classification"}, {"split", "IND"}, {"optional", false}}));
  const Json manifest = read_json(folder / "mini/manifest.json");
  EXPECT_EQ(manifest["skipped"][0]["name"], "TuxPaint");
  EXPECT_EQ(manifest["sets"].size(), 11u + 19);
  for (const Json& set : manifest["sets"]) {
    const bool test = set["split"] == "test";
    const fs::path root = folder / (test ? "mini/MMEB-eval" : "mini/MMEB-train");
    const std::string name = set["name"], file = test ? "test.jsonl" : "original.jsonl";
    const std::vector<Json> rows = lines_of_json(root / name / file);
    EXPECT_EQ(rows.size(), test ? 5u : 20u);
    EXPECT_EQ(set["rows_sha256"], hex(sha256(read_text(root / name / file))));
    std::set<std::string> paths;
    for (const Json& row : rows)
      for (const auto& [column, value] : row.items())
        if (contains(column, "path") || contains(column, "img"))
          for (const std::string& path :
               value.is_array() ? value.get<std::vector<std::string>>() : std::vector{value.get<std::string>()})
            if (!path.empty()) paths.insert(path);
    EXPECT_EQ(paths.size(), set["pictures"]);
    for (const std::string& path : paths) {
      EXPECT_TRUE(path.starts_with(test ? "images/" + name + "/0" : "images/" + name + "/Train/0")) << path;
      const Image image = read_rgb(root / path);
      EXPECT_EQ(image.width % cell_size + image.height % cell_size, 0);
    }
  }
  const Json row = lines_of_json(folder / "mini/MMEB-eval/EmojiNet/test.jsonl")[0];
  EXPECT_EQ(row["qry_text"], "<|image_1|>\nName the object.\n");
  EXPECT_EQ(row["tgt_text"].size(), 71u);
  EXPECT_EQ(row["tgt_img_path"], Json(std::vector<std::string>(71)));
  const std::string line = read_text(folder / "mini/MMEB-train/Scene_t2i/original.jsonl");
  EXPECT_TRUE(line.starts_with("{\"qry\":\"Find the image: ")) << line.substr(0, 60);
  EXPECT_TRUE(contains(describe(summary), "left out: TuxPaint"));
}

TEST_F(MiniBuild, SeedMovesTrainingOnly) {
  const TemporaryFolder folder("mini");
  const std::string first = build(folder / "a", 1).sha256;
  EXPECT_EQ(build(folder / "b", 1).sha256, first);
  EXPECT_NE(build(folder / "c", 2).sha256, first);
  build(folder / "d", 1, 30, 7);  // longer sets begin with the same rows
  const Json a = Json::parse(read_text(folder / "a/manifest.json")),
             c = Json::parse(read_text(folder / "c/manifest.json"));
  for (size_t i = 0; i < a["sets"].size(); ++i) {
    const bool test = a["sets"][i]["split"] == "test";
    EXPECT_EQ(a["sets"][i]["pixels_sha256"] == c["sets"][i]["pixels_sha256"], test) << a["sets"][i];
    EXPECT_TRUE(!test || a["sets"][i]["rows_sha256"] == c["sets"][i]["rows_sha256"]);
    const std::string file = (test ? "/MMEB-eval/" : "/MMEB-train/") + a["sets"][i]["name"].get<std::string>() +
                             (test ? "/test.jsonl" : "/original.jsonl");
    EXPECT_TRUE(read_text(folder / ("d" + file)).starts_with(read_text(folder / ("a" + file)))) << file;
  }
}

TEST_F(MiniBuild, SameBytesOnEveryMachine) {
  if (world().read[0].sha256 != font_sha256 || world().read[1].sha256 != names_sha256)
    GTEST_SKIP() << "other versions of the packages";
  const TemporaryFolder folder("mini");
  const int before = threads();
  for (const int n : {1, 3}) {
    set_threads(n);
    const fs::path mini = folder / sentence(n);
    build(mini, 1);
    EXPECT_EQ(hex(sha256(read_json(mini / "manifest.json")["sets"].dump())),
              "4089a2151d1fff734ae1e72a9126aa827ccb6abf58c989ffb342a74d972ddfbc");
  }
  set_threads(before);
}

TEST_F(MiniBuild, WhatIsThereIsNotDrawnAgain) {
  const TemporaryFolder folder("mini");
  const fs::path mini = folder / "mini", picture = mini / "MMEB-eval/images/EmojiNet/000000.png";
  const MiniSummary first = build(mini, 1);
  EXPECT_FALSE(first.kept);
  const auto drawn = fs::last_write_time(picture);
  const MiniSummary second = build(mini, 1);
  EXPECT_TRUE(second.kept);
  EXPECT_EQ(fs::last_write_time(picture), drawn);
  EXPECT_EQ(second.sha256, first.sha256);
  ASSERT_EQ(second.sets.size(), first.sets.size());
  for (size_t i = 0; i < first.sets.size(); ++i) {
    const MiniSummary::Set &a = first.sets[i], &b = second.sets[i];
    EXPECT_EQ(std::tuple(a.task.name, a.train_rows, a.test_rows, a.train_pictures, a.test_pictures),
              std::tuple(b.task.name, b.train_rows, b.test_rows, b.train_pictures, b.test_pictures));
  }
  fs::remove(picture);
  EXPECT_FALSE(build(mini, 1).kept);
  EXPECT_TRUE(fs::exists(picture));
  std::ofstream(mini / "MMEB-train/EmojiNet/original.jsonl", std::ios::app) << "{}\n";
  EXPECT_FALSE(build(mini, 1).kept);
  EXPECT_TRUE(build(mini, 1).kept);
  EXPECT_FALSE(build(mini, 2).kept);  // other options
}

TEST_F(MiniBuild, ReplacesItsOwnFolderOnly) {
  const TemporaryFolder folder("mini");
  build(folder / "mini", 1);
  build(folder / "mini", 2);
  EXPECT_EQ(read_json(folder / "mini/manifest.json")["seed"], 2);
  EXPECT_EQ(entries(folder), 1u);
  std::ofstream(folder / "mini/notes.txt") << "mine";
  EXPECT_TRUE(contains(message_of(Exit::usage, [&] { build(folder / "mini", 3); }), "notes.txt"));
  EXPECT_EQ(read_text(folder / "mini/notes.txt"), "mine");
  fs::remove(folder / "mini/notes.txt");
  fs::create_directories(folder / "mini/MMEB-train/Mine");
  EXPECT_TRUE(contains(message_of(Exit::usage, [&] { build(folder / "mini", 3); }), "MMEB-train: holds \"Mine\""));
  EXPECT_TRUE(fs::exists(folder / "mini/MMEB-train/Mine"));
  fs::create_directories(folder / "other/MMEB-train");
  EXPECT_TRUE(contains(message_of(Exit::usage, [&] { build(folder / "other", 1); }), "manifest.json"));
  EXPECT_TRUE(contains(message_of(Exit::usage, [&] { build(folder / "other/a_file", 1, 0); }), "--train_rows"));
  std::ofstream(folder / "other/a_file") << "text";
  EXPECT_TRUE(contains(message_of(Exit::usage, [&] { build(folder / "other/a_file", 1); }), "cannot be read"));
}

TEST_F(MiniBuild, NothingIsLeftAfterAnError) {
  const TemporaryFolder folder("mini");
  message_of(Exit::data, [&] { build_mini({.output_dir = folder / "mini", .sources = {.font = "/nonexistent"}}); });
  EXPECT_EQ(entries(folder), 0u);
}

TEST_F(MiniBuild, CtrlCLeavesNothing) {
  const TemporaryFolder folder("mini");
  std::signal(SIGINT, SIG_DFL);  // which a shell's background job ignores
  const std::jthread user([&](const std::stop_token& over) {
    while (entries(folder) == 0 && !over.stop_requested()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!over.stop_requested()) std::raise(SIGINT);
  });
  EXPECT_TRUE(contains(message_of(Exit(128 + SIGINT), [&] { build(folder / "mini", 1); }), "interrupted"));
  EXPECT_EQ(entries(folder), 0u);
  EXPECT_FALSE(interrupted());  // forgotten with the build
}

}  // namespace
}  // namespace vlm2vec::mini
