// data check, stats, preview and leaks: what they find in small sets, and what they print and return.
#include <gtest/gtest.h>

#include "archive_writer.h"
#include "cli_fixture.h"
#include "expect_error.h"
#include "golden.h"
#include "io/base64.h"
#include "mmeb/data/data_check.h"
#include "mmeb/data/data_leaks.h"
#include "mmeb/data/data_stats.h"
#include "mmeb/data/dataset_config.h"
#include "show/data_preview.h"
#include "show/html.h"
#include "tensor/random.h"
#include "vlm/image/picture_hash.h"

namespace vlm2vec {
namespace {

// A smooth picture with noise: no two seeds look alike.
Image some_picture(uint64_t seed, int side = 96) {
  Random random(seed);
  Image coarse(6, 6, 3);
  for (uint8_t& p : coarse.pixels) p = uint8_t(random.below(256));
  return resize(coarse, {side, side}, Filter::bicubic);
}

Json train_row(const std::string& query, const std::string& image, const std::string& positive,
               const std::string& positive_image = "") {
  return {{"qry", query}, {"qry_image_path", image}, {"pos_text", positive}, {"pos_image_path", positive_image}};
}

class Data : public Cli {
 protected:
  void write_rows(const std::string& file, const std::vector<Json>& rows) const {
    std::string text;
    for (const Json& row : rows) text += row.dump() + "\n";
    write(file, text);
  }
};

TEST_F(Data, CheckFindsEveryFault) {
  write_rows("good/A/original.jsonl", {train_row("<|image_1|> x", "p.png", "a"), train_row("<|image_1|> y", "", "b")});
  write_png(folder_ / "good/p.png", some_picture(1));
  const Result good = run("data check good --decode True");
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_TRUE(has(good.out, "nothing is missing")) << good.out;

  Json hard = train_row("<|image_1|> x", "p.png", "a");  // a hard negative without text, as in VisDial
  hard["neg_text"] = "", hard["neg_image_path"] = "p.png";
  write_rows("hard/H/original.jsonl", {hard});
  EXPECT_EQ(run("data check hard --image_dir good").code, 0);
  hard["neg_image_path"] = "negative.png";
  write_rows("hard/H/original.jsonl", {hard});
  const Result no_negative = run("data check hard --image_dir good");
  EXPECT_EQ(no_negative.code, 3);
  EXPECT_TRUE(has(no_negative.err, "good/negative.png: no such file; row 1 of H")) << no_negative.err;

  hard["neg_text"] = {"fine", "no token"}, hard["neg_image_path"] = {"", "p.png"};
  write_rows("hard/H/original.jsonl", {hard});
  const Result no_token = run("data check hard --image_dir good");
  EXPECT_EQ(no_token.code, 3);
  EXPECT_TRUE(has(no_token.err,
                  "1 side has image tokens that do not match the pictures: row 1 (negative 2): the text \"no token\" "
                  "has 0 image tokens"))
      << no_token.err;

  fs::copy(folder_ / "good", folder_ / "bad", fs::copy_options::recursive);
  write_rows("bad/B/original.jsonl",
             {train_row("<|image_1|> x", "broken.png", "a"), train_row("no token", "p.png", "b"),
              train_row("<|image_1|>", "none.png", "c"), train_row("", "", "<|image_1|><|image_2|>", "p.png")});
  write("bad/broken.png", read_text(folder_ / "bad/p.png").substr(0, 60));
  write("bad/T/test.jsonl", R"({"qry_text": "q", "qry_img_path": "", "tgt_text": ["a", "b"], "tgt_img_path": [""]})");
  const Result bad = run("data check bad --decode True --json");
  EXPECT_EQ(bad.code, 3);
  const Json sets = Json::parse(bad.out).at("sets");
  ASSERT_EQ(sets.size(), 3u);
  EXPECT_EQ(sets[0].at("problems").size(), 0u);
  EXPECT_EQ(sets[0].at("tokens_without_picture"), 1);
  const Json& b = sets[1];
  EXPECT_EQ(b.at("rows"), 4);
  EXPECT_EQ(b.at("pictures"), 3);
  EXPECT_EQ(b.at("missing"), 1);
  EXPECT_EQ(b.at("undecodable"), 1);
  EXPECT_EQ(b.at("pictures_without_token"), 2);  // "no token", and two tokens for one picture
  EXPECT_EQ(b.at("empty_prompts"), 1);
  EXPECT_EQ(b.at("problems").size(), 4u);
  EXPECT_TRUE(has(bad.err, "bad/none.png: no such file; row 3 of B")) << bad.err;
  EXPECT_TRUE(has(bad.err, "row 4 (query)")) << bad.err;
  EXPECT_TRUE(has(bad.err, "tgt_text has 2 items and tgt_img_path 1")) << bad.err;
  EXPECT_TRUE(has(bad.err, "1 picture cannot be decoded: row 1 (query): ")) << bad.err;
  const Result undecoded = run("data check bad --decode False --json");
  EXPECT_EQ(Json::parse(undecoded.out).at("sets")[1].at("problems").size(), 3u);
  EXPECT_EQ(run("data check bad --subset_name A").code, 0);
  EXPECT_TRUE(has(run("data check bad --subset_name A --decode False").out, "pictures were not decoded"));
  for (const std::string command : {"data check bad", "train --model_name m --output_dir o --dataset_name bad",
                                    "eval --model_name m --encode_output_path o --dataset_name bad"}) {
    const Result r = run(command + " --subset_name C");
    EXPECT_EQ(r.code, 2) << command;
    EXPECT_TRUE(has(r.err, "has no set C with") && has(r.err, "; there ")) << r.err;
  }
  EXPECT_EQ(run("data check nowhere").code, 3);
}

TEST_F(Data, OtherSplitsAreNamedAndChosen) {
  write_rows("d/A/original.jsonl", {train_row("x", "", "a")});
  write_rows("d/A/diverse_instruction.jsonl", {train_row("x", "", "a"), train_row("", "", "b")});
  for (const char* command : {"data check d", "data stats d", "data preview d --output page.html", "data leaks d d"}) {
    const Result first = run(command);
    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_TRUE(has(first.err,
                    "d: only original and test rows are read; --dataset_split can name "
                    "diverse_instruction"))
        << first.err;
  }
  const Result second = run("data check d --dataset_split diverse_instruction");
  EXPECT_EQ(second.code, 3);
  EXPECT_TRUE(has(second.err, "row 2 (query)")) << second.err;
  EXPECT_EQ(Json::parse(run("data stats d --json --dataset_split diverse_instruction").out).at("sets")[0].at("rows"),
            2);
  const Result none = run("data check d --dataset_split diverse");
  EXPECT_EQ(none.code, 3);
  EXPECT_TRUE(has(none.err, "rows called diverse_instruction, original, which --dataset_split can name")) << none.err;
}

// What is likely meant is said by every command that wants sets.
TEST_F(Data, FoldersWithoutSetsGetTheSameHints) {
  write_rows("other/A/diverse_instruction.jsonl", {train_row("x", "", "a")});
  write_rows("one/diverse_instruction.jsonl", {train_row("x", "", "a")});
  write("test/test.jsonl", R"({"qry_text": "q", "qry_img_path": "", "tgt_text": ["a"], "tgt_img_path": [""]})");
  const std::string train = "train --model_name m --output_dir o --dataset_name ",
                    eval = "eval --model_name m --encode_output_path o --dataset_name ", check = "data check ";
  for (const std::string& command : {train, check}) {
    const Result other = run(command + "other"), one = run(command + "one");
    EXPECT_EQ(other.code, 3);
    EXPECT_TRUE(has(other.err, "there are rows called diverse_instruction, which --dataset_split can name"))
        << command << other.err;
    EXPECT_EQ(one.code, 3);
    EXPECT_TRUE(has(one.err, "this is a set folder, name its parent folder")) << command << one.err;
  }
  const Result file = run("data check diverse_instruction.jsonl", "cd one && ");
  EXPECT_TRUE(has(file.err, "jsonl: is a file; expected a folder of sets, such as ")) << file.err;
  write("tests/A/test.jsonl", R"({"qry_text": "q", "qry_img_path": "", "tgt_text": ["a"], "tgt_img_path": [""]})");
  const std::string rows_of_eval = run(train + "tests").err;
  EXPECT_TRUE(has(rows_of_eval, "; these are test rows, for eval; train reads original.jsonl")) << rows_of_eval;
  EXPECT_FALSE(has(rows_of_eval, "--dataset_split")) << rows_of_eval;
  const Result other = run(eval + "other"), one = run(eval + "test");
  EXPECT_TRUE(has(other.err, "rows called diverse_instruction, but eval reads rows called test")) << other.err;
  EXPECT_TRUE(has(one.err, "this is a set folder")) << one.err;
}

TEST_F(Data, EverySetIsListedOnce) {
  write("d/A/test.jsonl", R"({"qry_text": "q", "qry_img_path": "", "tgt_text": ["a", "b"], "tgt_img_path": ["", ""]})");
  write_rows("d/A/original.jsonl", {train_row("x", "", "a")});
  const auto sets = open_data_folder(folder_ / "d", {{}, {}, "", "test"}).sets;
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_TRUE(sets[0].test);
}

// The name of a split ends where that of a shard begins, and nowhere else.
TEST_F(Data, SplitsAreWhatDatasetsWrites) {
  write_rows("d/A/original.jsonl", {train_row("x", "", "a")});
  for (const char* file : {"v1-00000-of-00002.parquet", "v2-0-of-1.parquet", "v3-00.parquet",
                           "v4-000001-of-00002.parquet", "v5-00000-of-00001.jsonl", "v6-00000-of-00001-0a1b.parquet"})
    write(std::string("d/A/") + file, "");
  EXPECT_EQ(open_data_folder(folder_ / "d").note,
            (folder_ / "d").string() +
                ": only original and test rows are read; --dataset_split can name v1, v2-0-of-1, v3-00, "
                "v4-000001-of-00002, v5-00000-of-00001, v6");
}

// original.jsonl, original.parquet and shards are the same rows, or different ones: which are meant?
TEST_F(Data, RowsInTwoFormsAreRefused) {
  write_rows("d/A/original.jsonl", {train_row("x", "", "a")});
  write("d/A/original-more-00000-of-00001.parquet", "");  // another split
  EXPECT_EQ(train_folder(folder_ / "d").size(), 1u);
  for (const char* second : {"original.parquet", "original-00000-of-00001.parquet"}) {
    write(std::string("d/A/") + second, "");
    const std::string error = std::string("d/A/original.jsonl: lies beside ") + second + "; keep only one of them";
    expect_error(Exit::data, error, [&] { open_data_folder(folder_ / "d"); });
    expect_error(Exit::data, error, [&] { train_folder(folder_ / "d"); });
    write("d.yaml", "A: {dataset_parser: mmeb, dataset_name: d, subset_name: A}\n");
    expect_error(Exit::data, error, [&] { read_train_config(folder_ / "d.yaml", folder_.path()); });
    fs::remove(folder_ / "d/A" / second);
  }
  fs::rename(folder_ / "d/A/original.jsonl", folder_ / "d/A/original.parquet");
  write("d/A/original-00000-of-00001.parquet", "");
  expect_error(Exit::data, "original.parquet: lies beside original-00000-of-00001.parquet",
               [&] { train_folder(folder_ / "d"); });
}

TEST_F(Data, AZipIsTrainedFromAsItLies) {
  make_model();
  const Result plain =
      run("train --model_name model --dataset_name train --output_dir a --max_steps 2 "
          "--per_device_train_batch_size 4 --quiet");
  ASSERT_EQ(plain.code, 0) << plain.err;
  Members members;
  for (const auto& entry : fs::directory_iterator(folder_ / "train"))
    if (entry.is_regular_file()) members.push_back({entry.path().filename().string(), read_text(entry.path())});
  write_zip(folder_ / "pictures.zip", members);
  for (const auto& [name, content] : members) fs::remove(folder_ / "train" / name);
  EXPECT_EQ(run("data check train").code, 3);
  EXPECT_EQ(run("data check train --image_dir pictures.zip --decode True").code, 0);
  const Result zipped =
      run("train --model_name model --dataset_name train --output_dir b --max_steps 2 --image_dir "
          "pictures.zip --per_device_train_batch_size 4 --quiet");
  ASSERT_EQ(zipped.code, 0) << zipped.err;
  EXPECT_EQ(read_text(folder_ / "a/model.safetensors"), read_text(folder_ / "b/model.safetensors"));
  const Result scored =
      run("eval --model_name a --dataset_name test --image_dir pictures.zip --encode_output_path s "
          "--quiet");
  EXPECT_EQ(scored.code, 0) << scored.err;
}

TEST_F(Data, StatsCount) {
  write_rows("d/A/original.jsonl", {train_row("aäb", "p.png", "x"), train_row("aäb", "p.png", "x"),
                                    train_row("abcd", "", "y", "q.png"), train_row("", "p.png", "z")});
  const SetStats s = stats_of(open_data_folder(folder_ / "d").sets[0]);
  EXPECT_EQ(s.rows, 4);
  EXPECT_EQ(s.queries, 3);
  EXPECT_EQ(s.positives, 3);
  EXPECT_EQ(s.pictures, 2);
  EXPECT_DOUBLE_EQ(s.with_query_picture, 0.75);
  EXPECT_DOUBLE_EQ(s.with_positive_picture, 0.25);
  EXPECT_EQ(s.duplicates, 2);
  EXPECT_EQ(s.query_length.low, 0);
  EXPECT_EQ(s.query_length.median, 3);
  EXPECT_EQ(s.query_length.most, 4);
  EXPECT_EQ(s.candidates.most, 1);
  EXPECT_EQ(Json::parse(run("data stats d --json").out).at("sets")[0].at("rows_with_shared_positive"), 2);
  EXPECT_TRUE(has(run("data stats d").out, "50.0 %"));
  std::vector<int64_t> hundred(100);
  for (int64_t i = 0; i < 100; ++i) hundred[size_t(i)] = 100 - i;
  const Quantiles q = quantiles(hundred);
  EXPECT_EQ((std::vector{q.low, q.median, q.high, q.most}), (std::vector<int64_t>{5, 50, 95, 100}));
}

TEST_F(Data, PreviewShowsPicturesAndEscapesTexts) {
  write_rows("d/A/original.jsonl", {train_row("<|image_1|>\n<script>alert('1')</script> & \"x\"", "p.png", "a"),
                                    train_row("second", "none<b>.png", "b"), train_row("third", "", "c")});
  write_png(folder_ / "d/p.png", some_picture(1, 600));
  const Result r = run("data preview d --output page.html --limit 2");
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string page = read_text(folder_ / "page.html");
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"));
  EXPECT_FALSE(has(page, "<script"));
  EXPECT_FALSE(has(page, "none<b>"));
  EXPECT_TRUE(has(page, "missing"));
  EXPECT_TRUE(has(page, "second"));
  EXPECT_FALSE(has(page, "third"));
  EXPECT_TRUE(has(page, "width=\"240\" height=\"240\" alt=\"\" src=\"data:image/webp;base64,UklGR"));  // "RIFF"
  EXPECT_LT(page.size(), 20000u);
  EXPECT_EQ(run("data preview d --output nowhere/page.html").code, 4);
}

TEST(Base64, IsThatOfRfc4648) {
  const auto decoded = [](const std::string& text) {
    const std::vector<uint8_t> bytes = from_base64(text);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(decoded("Zm9v YmFy\n//4="), "foobar\xFF\xFE");
  EXPECT_EQ(decoded("Zm8"), "fo");
  EXPECT_EQ(decoded(""), "");
  for (const char* wrong : {"Zm9v-mFy", "Zm=v", "Zm9vY", "Zg===="})
    expect_error(Exit::data, "is not base64", [&] { decoded(wrong); });

  const auto encoded = [](std::string_view text) {
    return base64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foobar\xFF\xFE"), "Zm9vYmFy//4=");
}

// A's picture comes back in B as another file with the same pixels, scaled and darkened, and not at all.
TEST_F(Data, LeaksAreFound) {
  fs::create_directories(folder_ / "a"), fs::create_directories(folder_ / "b");
  const Image first = some_picture(1), second = some_picture(2);
  write_png(folder_ / "a/one.png", first), write_png(folder_ / "a/two.png", second);
  write_png(folder_ / "a/grey.png", Image(8, 8, 3));
  std::string ppm = "P6 96 96 255\n";  // the same pixels in another format
  ppm.append(first.pixels.begin(), first.pixels.end());
  write("b/same.ppm", ppm);
  Image near = resize(second, {70, 80}, Filter::bilinear);
  for (uint8_t& p : near.pixels) p = uint8_t(p * 9 / 10);
  write_png(folder_ / "b/near.png", near), write_png(folder_ / "b/other.png", some_picture(3));
  write_png(folder_ / "b/grey.png", Image(9, 9, 3));  // has no structure, so is like none
  write_rows("a/A/original.jsonl",
             {train_row("<|image_1|> q", "one.png", "cat"), train_row("<|image_1|>", "two.png", "dog"),
              train_row("<|image_1|>", "grey.png", "?")});
  write_rows("b/B/original.jsonl",
             {train_row("<|image_1|> r", "other.png", "cat"), train_row("<|image_1|> q", "same.ppm", "cat"),
              train_row("<|image_1|> q", "near.png", "cow"), train_row("s", "none.png", "owl"),
              train_row("<|image_1|> r", "grey.png", "!")});
  const Result r = run("data leaks a b --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  const Json leaks = Json::parse(r.out);
  const auto counts = [&](const char* kind) {
    return std::vector<int>{leaks.at(kind).at("in_a"), leaks.at(kind).at("in_b"), leaks.at(kind).at("shared")};
  };
  EXPECT_EQ(counts("query_texts"), (std::vector{2, 3, 1}));
  EXPECT_EQ(counts("positive_texts"), (std::vector{3, 4, 1}));
  EXPECT_EQ(counts("pairs"), (std::vector{3, 4, 1}));  // the pair with none.png cannot be compared
  EXPECT_EQ(counts("equal_pictures"), (std::vector{3, 4, 1}));
  EXPECT_EQ(counts("near_pictures"), (std::vector{2, 3, 1}));
  const Json equal = leaks.at("equal_pictures").at("first")[0], alike = leaks.at("near_pictures").at("first")[0];
  EXPECT_EQ(equal.at("what"), "same.ppm");
  EXPECT_EQ(equal.at("a"), "row 1 of A (query)");
  EXPECT_EQ(equal.at("b"), "row 2 of B (query)");
  EXPECT_EQ(alike.at("what"), "near.png");
  EXPECT_EQ(leaks.at("unreadable_pictures"), 1);
  EXPECT_TRUE(leaks.at("leaks"));
  EXPECT_TRUE(has(run("data leaks a b --quiet").out, "row 2 of A (query), B row 3 of B (query)"));
  EXPECT_TRUE(has(run("data leaks a b --quiet").out, "\npictures, near: without 1 of A and 1 of B, which are too"));
  EXPECT_EQ(run("data leaks a b --fail True --quiet").code, 1);
  EXPECT_EQ(Json::parse(run("data leaks a b --json --quiet --distance 0").out).at("near_pictures").at("shared"), 0);
  fs::remove_all(folder_ / "b/B");
  write_rows("b/C/original.jsonl", {train_row("t", "other.png", "cat")});
  EXPECT_EQ(run("data leaks a b --fail True --quiet").code, 0);  // a word that labels share is no leak
  fs::remove(folder_ / "a/A/original.jsonl");
  write_rows("a/A/original.jsonl", {train_row("q", "", "owl")});
  EXPECT_FALSE(has(run("data leaks a b --quiet").out, "too plain"));
  EXPECT_EQ(run("data leaks a").code, 2);
  EXPECT_EQ(run("data leaks a b --distance 16").code, 2);
}

// The index finds what a look at every hash finds.
TEST(NearIndex, EqualsALookAtEveryHash) {
  Random random(5);
  const auto number = [&] { return uint64_t(random.below(0xFFFFFFFF)) << 32 | random.below(0xFFFFFFFF); };
  std::vector<uint64_t> hashes;
  for (int i = 0; i < 300; ++i) hashes.push_back(number());
  for (const int distance : {0, 1, 4, 15}) {
    const NearIndex index(hashes, distance);
    int found = 0;
    for (int i = 0; i < 300; ++i) {
      uint64_t wanted = hashes[size_t(i)];
      for (uint32_t flips = random.below(uint32_t(distance) + 3); flips > 0; --flips)
        wanted ^= uint64_t(1) << random.below(64);
      std::optional<size_t> expected;
      for (size_t h = 0; h < hashes.size(); ++h)
        if (hamming(hashes[h], wanted) <= distance &&
            (!expected || hamming(hashes[h], wanted) < hamming(hashes[*expected], wanted)))
          expected = h;
      EXPECT_EQ(index.nearest(wanted), expected);
      found += expected.has_value();
    }
    EXPECT_GT(found, 50);
    EXPECT_LT(found, 300);
  }
}

// JPEG's compression leaves photographs near; different photographs are far.
TEST(PerceptualHash, BearsCompressionAndScale) {
  std::vector<uint64_t> hashes;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Image picture = some_picture(seed, 200);
    const uint64_t hash = perceptual_hash(picture).value();
    Image noisy = resize(picture, {120, 150}, Filter::bicubic);
    Random random(seed);
    for (uint8_t& p : noisy.pixels) p = uint8_t(std::clamp(int(p) + int(random.below(13)) - 6, 0, 255));
    EXPECT_LE(hamming(hash, perceptual_hash(noisy).value()), 4) << seed;
    for (const uint64_t other : hashes) EXPECT_GT(hamming(hash, other), 12) << seed;
    hashes.push_back(hash);
  }
  EXPECT_FALSE(perceptual_hash(Image(50, 40, 3)));
  EXPECT_NE(pixel_digest(Image(2, 3, 3)), pixel_digest(Image(3, 2, 3)));
}

TEST_F(Data, LeaksLooksAtEveryPositive) {
  Json row = train_row("capital of France", "", "");
  row["pos_text"] = {"Paris, France", "Paris"}, row["pos_image_path"] = {"", ""};
  write_rows("a/A/original.jsonl", {row});
  write_rows("b/A/original.jsonl", {train_row("capital of France", "", "Paris")});
  const Result leak = run("data leaks a b --fail True");
  EXPECT_EQ(leak.code, 1) << leak.out;
  EXPECT_TRUE(has(leak.out, "capital of France -> Paris")) << leak.out;

  // A hard negative's picture is one that training saw.
  row["neg_text"] = "", row["neg_image_path"] = "n.png";
  write_rows("a/A/original.jsonl", {row});
  write_rows("b/A/original.jsonl", {train_row("<|image_1|> what?", "q.png", "a thing")});
  write_png(folder_ / "a/n.png", some_picture(7));
  write_png(folder_ / "b/q.png", some_picture(7));
  const Result negative = run("data leaks a b");
  EXPECT_TRUE(has(negative.out, "row 1 of A (negative)")) << negative.out;
}

}  // namespace
}  // namespace vlm2vec
