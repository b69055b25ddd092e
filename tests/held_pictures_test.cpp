// Pictures that rows hold themselves, in Parquet files and as base64, do whatever paths do, with the same numbers.
#include <regex>

#include "cli_fixture.h"
#include "expect_error.h"
#include "golden.h"
#include "io/base64.h"
#include "mmeb/data/data_check.h"
#include "mmeb/data/data_leaks.h"
#include "mmeb/data/data_stats.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/training/trainer.h"
#include "show/data_preview.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

class HeldPictures : public Cli {
 protected:
  HeldPictures() {
    write_tiny_model(folder_ / "model");
    for (const char* form : {"paths", "parquet"})
      fs::copy(golden("mmeb/held") / form, folder_ / form, fs::copy_options::recursive);
    rewrite("uris", [](const std::string& base64) { return Json("data:image/png;base64," + base64); });
    rewrite("objects", [](const std::string& base64) { return Json{{"bytes", base64}, {"path", "a.png"}}; });
  }
  std::string in_base64(const std::string& name) const {
    const std::string bytes = read_text(folder_ / "paths" / name);
    return base64({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  // The rows of paths/ with held(base64) in place of each path.
  void rewrite(const std::string& form, const std::function<Json(const std::string&)>& held) const {
    for (const char* name : {"original.jsonl", "test.jsonl"}) {
      std::istringstream lines(read_text(folder_ / "paths/Set" / name));
      std::string text;
      const std::function<void(Json&)> replace = [&](Json& value) {
        if (value.is_array()) std::for_each(value.begin(), value.end(), replace);
        else if (value.is_string()) value = held(in_base64(value));
      };
      for (std::string line; std::getline(lines, line);) {
        Json row = Json::parse(line);
        for (auto& [key, value] : row.items())
          if (key.ends_with("_path")) replace(value);
        text += row.dump() + "\n";
      }
      write(form + "/Set/" + name, text);
    }
    fs::copy(folder_ / "paths/tasks.json", folder_ / form / "tasks.json");
  }
  const std::vector<std::string> forms_ = {"parquet", "uris", "objects"};
};

TEST_F(HeldPictures, train_and_evaluate_like_files) {
  const auto trained = [&](const std::string& form) {
    TrainOptions o;
    o.model_name = folder_ / "model", o.dataset_name = folder_ / form, o.output_dir = folder_ / (form + "-run");
    o.max_steps = 1, o.per_device_train_batch_size = 4, o.num_hardneg = 2, o.learning_rate = 1e-2;
    train(o, Device::cpu, true);
    return read_text(folder_ / (form + "-run/model.safetensors"));
  };
  const auto evaluated = [&](const std::string& form) {
    EvalOptions o;
    o.model_name = folder_ / "model", o.dataset_name = folder_ / form, o.encode_output_path = folder_ / (form + "-e");
    evaluate(o, Device::cpu, true);
    return read_text(folder_ / (form + "-e/Set_qry.npy")) + read_text(folder_ / (form + "-e/Set_tgt.npy"));
  };
  const std::string model = trained("paths"), vectors = evaluated("paths");
  for (const std::string& form : forms_) {
    EXPECT_EQ(trained(form), model) << form;
    EXPECT_EQ(evaluated(form), vectors) << form;
  }
  // Result files name them by content, not by where they lie.
  EXPECT_EQ(read_text(folder_ / "parquet-e/Set_info.jsonl"), read_text(folder_ / "uris-e/Set_info.jsonl"));
  EXPECT_TRUE(has(read_text(folder_ / "uris-e/Set_info.jsonl"), "\"sha256:"));
}

TEST_F(HeldPictures, are_checked_counted_shown_and_compared_like_files) {
  const DataFolder paths = open_data_folder(folder_ / "paths");
  for (const std::string& form : forms_) {
    const DataFolder held = open_data_folder(folder_ / form);
    ASSERT_EQ(held.sets.size(), 2u) << form;
    for (size_t i = 0; i < 2; ++i) {
      const SetCheck a = check_data_set(paths.sets[i], paths), b = check_data_set(held.sets[i], held);
      EXPECT_TRUE(b.good()) << form << ": " << b.problems[0];
      EXPECT_EQ(b.pictures, a.pictures) << form;
      EXPECT_EQ(stats_of(held.sets[i], held.pictures).pictures, stats_of(paths.sets[i]).pictures) << form;
    }
    std::ostringstream page;
    write_preview(page, {held}, 5);
    const std::regex shown("src=\"data:image/webp");
    const std::string html = page.str();
    EXPECT_EQ(std::distance(std::sregex_iterator(html.begin(), html.end(), shown), std::sregex_iterator()), 11) << form;
    const LeakReport leaks = find_leaks(paths, held, 0, true);
    EXPECT_EQ(leaks.pictures.shared, 4) << form;
    EXPECT_EQ(leaks.pairs.shared, leaks.pairs.in_a) << form;
    EXPECT_EQ(leaks.unreadable, 0) << form;
  }
}

TEST_F(HeldPictures, are_embedded_and_found_like_files) {
  const std::string text = "<|image_pad|>\\nName it.\\n", uri = "data:image/png;base64,";
  write("a.jsonl", R"({"text": ")" + text +
                       R"(", "image": "paths/p0.png"})"
                       "\n"
                       R"({"image": ["paths/p1.png", "paths/p2.png"], "text": "<|image_pad|><|image_pad|>"})"
                       "\n");
  write("b.jsonl", R"({"text": ")" + text + R"(", "image": {"bytes": ")" + in_base64("p0.png") +
                       R"("}})"
                       "\n"
                       R"({"image": ["paths/p1.png", ")" +
                       uri + in_base64("p2.png") +
                       R"("], "text": "<|image_pad|><|image_pad|>"})"
                       "\n");
  const std::string embed = "embed --model_name model --embedding_cache cache ";
  const Result a = run(embed + "--input a.jsonl --output a.npy"), b = run(embed + "--input b.jsonl --output b.npy");
  ASSERT_EQ(a.code, 0) << a.err;
  ASSERT_EQ(b.code, 0) << b.err;
  EXPECT_TRUE(has(b.err, "2 of 2 vectors were found")) << b.err;  // the cache goes by content
  EXPECT_EQ(read_text(folder_ / "a.npy"), read_text(folder_ / "b.npy"));
  const Result found =
      run("search --index b.npy --top 1 --text '<|image_pad|>\nName it.\n' --image paths/p0.png --json");
  ASSERT_EQ(found.code, 0) << found.err;
  EXPECT_EQ(Json::parse(found.out).at("row"), 1);
  const Result page = run("search --index b.npy --text thing --output page.html");
  ASSERT_EQ(page.code, 0) << page.err;
  EXPECT_FALSE(has(read_text(folder_ / "page.html"), "missing"));
}

// What is broken is one short sentence and exit code 3.
TEST_F(HeldPictures, broken_ones_are_named_shortly) {
  const std::string good = in_base64("p0.png");
  const std::pair<std::string, std::string> cases[] = {
      {"data:image/png;base64," + good.substr(0, 60) + "*" + good, "is not base64: it has the character \"*\""},
      {"data:image/png;base64," + good.substr(0, 400), "data:image/png;base64,"},
      {"data:text/plain;base64," + std::string(4000, 'A'), "is not a picture of a known format"},
      {"data:image/png," + std::string(4000, 'A'), "is not a picture in base64; expected data:image/png;base64,"},
      {std::string(200000, 'A'), "the path looks like base64: write data:image/png;base64, before it"},
      {"a/" + std::string(200000, '.'), "..."},
      {"https://example.org/a.png", "nothing is downloaded: fetch the picture and write the path of its file"},
      {"images\\a.png", "write / between folders"},
      {"data", "data: no such picture"}};
  write("rows.jsonl", Json{{"text", nullptr}, {"image", "paths/p0.png"}}.dump() + "\n");
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --prompt vlm2vec-v2 --output out.npy").code, 0);
  for (const auto& [image, message] : cases) {
    write("rows.jsonl", Json{{"text", "<|image_pad|>"}, {"image", image}}.dump() + "\n");
    const Result r = run("embed --model_name model --input rows.jsonl --output out.npy");
    EXPECT_EQ(r.code, 3) << r.err;
    EXPECT_TRUE(has(r.err, message)) << r.err;
    EXPECT_LT(r.err.size(), 1500u) << message;
    const Json row = {{"qry", "<|image_1|>"}, {"qry_image_path", image}, {"pos_text", "a"}, {"pos_image_path", ""}};
    write("bad/Set/original.jsonl", row.dump() + "\n");
    const Result check = run("data check bad");
    EXPECT_EQ(check.code, 3) << check.err;
    EXPECT_LT(check.err.size(), 1500u) << message;
    const Result leaks = run("data leaks bad paths");
    EXPECT_LT(leaks.out.size() + leaks.err.size(), 4000u) << message;
  }
}

}  // namespace
}  // namespace vlm2vec
