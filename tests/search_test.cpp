// Exact nearest neighbours: the algorithm against the plain definition, and the command on what embed wrote.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cli_fixture.h"
#include "expect_error.h"
#include "io/base64.h"
#include "show/nearest_rows.h"
#include "tensor/ops.h"
#include "tensor/parallel.h"
#include "tensor/random.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

Tensor unit_rows(int64_t rows, int64_t dim, uint64_t seed) {
  Random random(seed);
  Tensor x({rows, dim}, DType::f32, Device::cpu);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = float(random.normal());
  return l2_normalize(x, 1e-12).y;
}

// Some rows are equal, so that there are ties.
TEST(Search, FindsWhatSortingAllScoresFinds) {
  const int64_t rows = 500, dim = 24;
  const Tensor queries = unit_rows(7, dim, 1), index = unit_rows(rows, dim, 2);
  for (int64_t i = 0; i < rows; i += 3)
    std::copy_n(index.data<float>(), dim, index.data<float>() + i * dim);  // row 0 again and again
  const auto hits = nearest_rows(queries, index, 40);
  const auto all = nearest_rows(queries, index, 2 * rows);
  for (int64_t q = 0; q < 7; ++q) {
    std::vector<std::pair<double, int64_t>> sorted;
    for (int64_t i = 0; i < rows; ++i) {
      double score = 0;
      for (int64_t c = 0; c < dim; ++c)
        score += double(queries.data<float>()[q * dim + c]) * index.data<float>()[i * dim + c];
      sorted.emplace_back(-score, i);
    }
    std::sort(sorted.begin(), sorted.end());
    ASSERT_EQ(hits[size_t(q)].size(), 40u);
    ASSERT_EQ(all[size_t(q)].size(), size_t(rows));
    for (size_t k = 0; k < 40; ++k) {
      EXPECT_EQ(hits[size_t(q)][k].row, sorted[k].second);
      EXPECT_NEAR(hits[size_t(q)][k].score, -sorted[k].first, 1e-6);
      EXPECT_EQ(hits[size_t(q)][k].row, all[size_t(q)][k].row);
    }
  }
}

// 3,000 queries make a block of 5,592 rows, one query takes all rows at once.
TEST(Search, BlocksAndThreadsChangeNoBit) {
  const Tensor queries = unit_rows(3000, 8, 3), index = unit_rows(6000, 8, 4);
  const int before = threads();
  set_threads(1);
  const auto one = nearest_rows(queries, index, 3);
  set_threads(3);
  const auto three = nearest_rows(queries, index, 3);
  for (size_t q = 0; q < 3000; q += 100) {
    const auto alone = nearest_rows(queries.rows(int64_t(q), int64_t(q) + 1), index, 3);
    for (size_t k = 0; k < 3; ++k)
      for (const auto& other : {three[q][k], alone[0][k]}) {
        EXPECT_EQ(one[q][k].row, other.row);
        EXPECT_EQ(one[q][k].score, other.score);
      }
  }
  set_threads(before);
}

TEST(Search, ScoresThatAreNoNumbersAreRefused) {
  const Tensor index = unit_rows(3, 4, 5);
  index.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  expect_error(Exit::data, "row 2 has no score", [&] { nearest_rows(unit_rows(1, 4, 6), index, 1); });
}

TEST(Npy, ReadsWhatItWritesAndRefusesTheRest) {
  const TemporaryFolder folder("npy");
  for (const Shape& shape : {Shape{3, 4}, Shape{5}, Shape{2, 3, 4}}) {
    const Tensor x = unit_rows(numel(shape), 1, 7).view(shape);
    write_npy(folder / "x.npy", x);
    const Tensor y = read_npy(folder / "x.npy");
    EXPECT_EQ(y.shape(), shape);
    EXPECT_EQ(to_vector<float>(x), to_vector<float>(y));
  }
  const std::string good = read_text(folder / "x.npy");
  const auto refused = [&](std::string bytes, const std::string& why) {
    write_text(folder / "y.npy", bytes);
    expect_error(Exit::data, why, [&] { read_npy(folder / "y.npy"); });
  };
  const auto replaced = [&](const std::string& old, const std::string& text) {
    std::string bytes = good;
    return bytes.replace(bytes.find(old), old.size(), text);
  };
  refused("PK", "is not a NumPy file");
  refused(good.substr(0, good.size() - 1), "is it cut off?");
  refused(good + "?", "is it cut off?");
  refused(replaced("False", "True "), "expected one of an array in C order");
  refused(replaced("<f4", "<c8"), "holds <c8");
}

class SearchCommand : public Cli {
 protected:
  void make_index() const {
    make_model();
    write("rows.jsonl",
          "{\"text\": \"thing 1\"}\n{\"text\": \"<|image_pad|> Name it.\", \"image\": \"train/p1.png\"}\n"
          "{\"text\": \"thing <3>\", \"id\": 3}\n");
    ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output rows.npy --quiet").code, 0);
  }
};

TEST_F(SearchCommand, FindsARowByItself) {
  make_index();
  const Result r = run("search --index rows.npy --text 'thing <3>' --top 2 --json");
  ASSERT_EQ(r.code, 0) << r.err;
  ASSERT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 2);
  const Json first = Json::parse(r.out.substr(0, r.out.find('\n')));
  EXPECT_EQ(first.at("row"), 3);
  EXPECT_EQ(first.at("rank"), 1);
  EXPECT_EQ(first.at("text"), "thing <3>");
  EXPECT_EQ(first.at("id"), 3);
  EXPECT_TRUE(has(run("search --index rows.npy --text 'thing <3>'").out, "1.0000       3  id 3  thing <3>\n"));
  EXPECT_NEAR(first.at("score").get<double>(), 1, 1e-6);
  const Result table = run("search --index rows.npy --text '<|image_pad|> Name it.' --image train/p1.png --threads 1");
  EXPECT_TRUE(has(table.out, "   1  1.0000       2  train/p1.png  <|image_pad|> Name it.\n")) << table.out;

  const Result page = run("search --index rows.npy --input rows.jsonl --output page.html");
  ASSERT_EQ(page.code, 0) << page.err;
  EXPECT_EQ(page.out, "The page: page.html (open it in a browser)\n");
  const std::string html = read_text(folder_ / "page.html");
  EXPECT_TRUE(has(html, "thing &lt;3&gt;") && has(html, "data:image/webp;base64,"));
  EXPECT_FALSE(has(html, "thing <3>") || has(html, "missing"));

  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output q.npy --prompt vlm2vec-v1 --quiet").code, 0);
  const Result vectors = run("search --index rows.npy --queries q.npy --json --top 1");
  EXPECT_EQ(std::count(vectors.out.begin(), vectors.out.end(), '\n'), 3) << vectors.err;
}

// As a row may: a picture in base64, which is named in short.
TEST_F(SearchCommand, APictureMayBeADataUri) {
  make_index();
  const std::string bytes = read_text(folder_ / "train/p1.png");
  const std::string uri =
      "data:image/png;base64," + base64({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  const std::string query = "search --index rows.npy --text '<|image_pad|> Name it.' --top 1 --image ";
  const Result r = run(query + "'" + uri + "'");
  EXPECT_TRUE(has(r.out, "   1  1.0000       2  train/p1.png  <|image_pad|> Name it.\n")) << r.out << r.err;
  write("held.jsonl", Json{{"text", "<|image_pad|> Name it."}, {"image", uri}}.dump() + "\n");
  ASSERT_EQ(run("embed --model_name model --input held.jsonl --output held.npy --quiet").code, 0);
  const Result held = run("search --index held.npy --text '<|image_pad|> Name it.' --image train/p1.png");
  EXPECT_TRUE(has(held.out, "1.0000       1  data:image/png;base64,")) << held.out << held.err;
  EXPECT_TRUE(has(held.out, " bytes)  <|image_pad|> Name it.\n")) << held.out;
  const std::string explain = "explain --model_name model --text '<|image_pad|> Name it.' --json --image ";
  const Json inside = Json::parse(run(explain + "'" + uri + "'").out).at("stages"),
             file = Json::parse(run(explain + "train/p1.png").out).at("stages");
  EXPECT_EQ(inside.back().at("mean"), file.back().at("mean"));
}

TEST_F(SearchCommand, SaysFlawsOfPicturesAsEmbedDoes) {
  make_index();
  fs::copy_file(folder_ / "train/p1.png", folder_ / "photo.jpg");
  for (const std::string command : {"search --index rows.npy", "explain --model_name model"}) {
    const Result r = run(command + " --text '<|image_pad|> Name it.' --image photo.jpg");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, "1 picture was read in spite of a flaw: photo.jpg: ")) << command << r.err;
  }
}

// Vectors cut when they are made and whole ones cut by the search: the same numbers, of length 1 again.
TEST_F(SearchCommand, ComparesTheFirstNumbersOnly) {
  make_index();
  const std::string whole = "--model_name model --input rows.jsonl ", query = " --text 'thing 1' --json";
  ASSERT_EQ(run("embed " + whole + "--output cut.npy --quiet --dim 5").code, 0);
  const Tensor cut = read_npy(folder_ / "cut.npy"), all = read_npy(folder_ / "rows.npy");
  ASSERT_EQ(cut.columns(), 5);
  for (int64_t row = 0; row < cut.rows(); ++row) {
    double squares = 0;
    for (int i = 0; i < 5; ++i) squares += std::pow(all.data<float>()[row * all.columns() + i], 2);
    for (int i = 0; i < 5; ++i)
      EXPECT_NEAR(cut.data<float>()[row * 5 + i], all.data<float>()[row * all.columns() + i] / std::sqrt(squares), 1e-6);
  }
  EXPECT_EQ(read_json(folder_ / "cut.npy.json").at("dim"), 5);
  const auto scores = [&](const std::string& line) {
    std::vector<double> found;
    std::istringstream lines(run("search " + line + query).out);
    for (std::string hit; std::getline(lines, hit);) found.push_back(Json::parse(hit).at("score"));
    return found;
  };
  const auto made = scores("--index cut.npy"), searched = scores("--index rows.npy --dim 5");
  ASSERT_FALSE(made.empty());
  ASSERT_EQ(made.size(), searched.size());
  for (size_t i = 0; i < made.size(); ++i) EXPECT_NEAR(made[i], searched[i], 1e-5);
  EXPECT_NE(searched, scores("--index rows.npy"));
  const Result large = run("embed " + whole + "--output x.npy --dim 99");
  EXPECT_EQ(large.code, 2);
  EXPECT_TRUE(has(large.err, "--dim 99: the embeddings of model have 16 numbers; give 16 or less")) << large.err;
  EXPECT_EQ(run("search --index rows.npy --dim 99" + query).code, 2);
  EXPECT_EQ(run("embed " + whole + "--output x.npy --dim -1").code, 2);
}

// Folder and rows may move together, and the model to where an option says.
TEST_F(SearchCommand, KnowsItsModelAndRowsWhereverTheyGo) {
  make_index();
  fs::create_directories(folder_ / "elsewhere/train");
  for (const char* file : {"rows.npy", "rows.npy.json", "rows.jsonl"})
    fs::rename(folder_ / file, folder_ / "elsewhere" / file);
  fs::copy_file(folder_ / "train/p1.png", folder_ / "elsewhere/train/p1.png");
  fs::rename(folder_ / "model", folder_ / "moved");
  const Result lost = run("search --index elsewhere/rows.npy --text thing");
  EXPECT_EQ(lost.code, 3);
  EXPECT_TRUE(has(lost.err, "model: no such folder") && has(lost.err, "give its new path with --model_name")) << lost.err;
  const Result found = run("search --index elsewhere/rows.npy --text 'thing 1' --model_name moved --top 1");
  EXPECT_TRUE(has(found.out, "1.0000       1  thing 1\n")) << found.out << found.err;
}

// However it was named, and wherever one stands.
TEST_F(SearchCommand, FindsItsModelFromElsewhere) {
  make_index();
  const Json how = read_json(folder_ / "rows.npy.json");
  EXPECT_EQ(how.at("model_name"), "model");
  EXPECT_EQ(how.at("absolute").at("model_name"), (fs::canonical(folder_.path()) / "model").string());
  const std::string found = "   1  1.0000       1  thing 1\n", query = " --text 'thing 1' --top 1",
                    index = "search --index '" + (folder_ / "rows.npy").string() + "'";
  EXPECT_TRUE(has(run(index + query, "cd / && ").out, found)) << "from another folder";
  fs::create_directories(folder_ / "alone");
  for (const char* file : {"rows.npy", "rows.npy.json"}) fs::copy_file(folder_ / file, folder_ / "alone" / file);
  EXPECT_TRUE(has(run("search --index alone/rows.npy" + query).out, found)) << "the vectors were moved alone";
  Json old = how;  // as earlier versions wrote it
  old.erase("absolute");
  write("rows.npy.json", old.dump());
  EXPECT_TRUE(has(run("search --index rows.npy" + query).out, found));
}

TEST_F(SearchCommand, AQueryWithoutInstructionIsNoted) {
  make_index();
  const std::string search = "search --index rows.npy --text thing --prompt vlm2vec-v1 ";
  EXPECT_TRUE(has(run(search).err, "search: the query has no --instruction; ")) << run(search).err;
  EXPECT_FALSE(has(run(search + "--instruction Find").err, "instruction"));
  EXPECT_FALSE(has(run(search + "--quiet").err, "instruction"));
  EXPECT_FALSE(has(run("search --index rows.npy --text thing").err, "instruction")) << "a raw prompt is whole";
  const Result picture = run("search --index rows.npy --image train/p1.png");
  EXPECT_EQ(picture.code, 3);
  EXPECT_TRUE(has(picture.err,
                  "(--prompt STYLE, the one that the model was trained with (vlm2vec-v1, vlm2vec-v2, …), puts it there)"))
      << picture.err;
}

TEST_F(SearchCommand, RefusesWhatWouldMeanNothing) {
  make_index();
  ASSERT_EQ(run("init --config config.json --tokenizer model --min_pixels 64 --max_pixels 4096 --seed 7 --output_dir "
                "other --quiet")
                .code,
            0);
  ASSERT_EQ(run("embed --model_name other --input rows.jsonl --output other.npy --quiet").code, 0);
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output bf16.npy --precision bf16 --quiet").code, 0);
  ASSERT_EQ(
      run("embed --model_name model --input /dev/stdin --image_dir . --output piped.npy --quiet <rows.jsonl").code, 0);
  write("changed.jsonl", read_text(folder_ / "rows.jsonl"));
  ASSERT_EQ(run("embed --model_name model --input changed.jsonl --output changed.npy --quiet").code, 0);
  write("changed.jsonl", "{\"text\": \"other\"}\n");
  ASSERT_EQ(run("image train/p1.png --output picture.npy").code, 0);
  const struct {
    std::string options;
    int code;
    std::string message;
  } cases[] = {
      {"--index rows.npy", 2, "give one query"},
      {"--index rows.npy --text a --input rows.jsonl", 2, "give one query"},
      {"--index rows.npy --text a --image_dir .", 2, "--image_dir"},
      {"--index rows.npy --queries rows.npy --prompt raw", 2, "have no effect with --queries"},
      {"--index rows.npy --text a --top 0", 2, "--top: got 0"},
      {"--index rows.npy --text a --prompt v3", 2, "v3"},
      {"--index rows.npy --text a --instruction b --device cpu", 2, "the prompt raw has no --instruction"},
      {"--index rows.npy --text a --model_name other", 3, "rows.npy: was made by another model than other"},
      {"--index rows.npy --queries other.npy", 3, "other.npy: was made with another model"},
      {"--index rows.npy --queries bf16.npy", 3, "bf16.npy: was made with another --precision"},
      {"--index nowhere.npy --text a", 3, "nowhere.npy"},
      {"--index picture.npy --text a", 3, "expected f32 [rows, dimensions]"},
      {"--index changed.npy --text a --device cpu", 3, "changed.jsonl: has changed since changed.npy was made from it"},
  };
  for (const auto& [options, code, message] : cases) {
    const Result r = run("search " + options);
    EXPECT_EQ(r.code, code) << options << ": " << r.err;
    EXPECT_TRUE(has(r.err, message)) << options << ": " << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  }
  const Result piped = run("search --index piped.npy --text 'thing 1' --top 1");
  EXPECT_TRUE(has(piped.out, "   1  1.0000       1")) << piped.out << piped.err;
}

}  // namespace
}  // namespace vlm2vec
