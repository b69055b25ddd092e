// Every option of the other commands, and how its effect is seen (option_effects.h).
#include "option_effects_fixture.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

TEST_F(Effects, OfSmallCommands) {
  write("halves.png", "P4 8 1 \x0F");  // flawed: the name promises another format
  const std::string pictures = std::string(SOURCE_DIR) + "/tests/golden/mmeb/types/pictures_none.parquet";
  Random random(2);
  Image coarse(6, 6, 3);
  for (uint8_t& p : coarse.pixels) p = uint8_t(random.below(256));
  const Image picture = resize(coarse, {96, 96}, Filter::bicubic);
  Image darker = resize(picture, {70, 80}, Filter::bilinear);
  for (uint8_t& p : darker.pixels) p = uint8_t(p * 9 / 10);
  for (const auto& [folder, image] : {std::pair("a", picture), {"b", darker}}) {  // pictures that are alike
    fs::create_directories(folder_ / "near" / folder);
    write_png(folder_ / "near" / folder / "one.png", image);
    for (const char* split : {"original", "diverse_instruction"})
      write(sentence("near/", folder, "/Set/", split, ".jsonl"),
            sentence(R"({"qry": "<|image_1|> )", split == std::string("original") ? "q" : folder,
                     R"(", "qry_image_path": "one.png", "pos_text": "x", "pos_image_path": ""})", "\n"));
  }
  must("eval --model_name model --dataset_name test --encode_output_path a");
  must("eval --model_name other --dataset_name test --encode_output_path b");
  keep_files();
  check({"data cat", pictures, {}, {{"columns", "text"}, {"limit", "1"}, {"binary", "base64"}}});
  check({"data check",
         "train",
         {},
         {{"image_dir", "model", {}, 3},
          {"subset_name", "Set"},
          {"dataset_split", "diverse_instruction"},
          {"decode", "False"},
          {"model_name", "train", {}, 3},
          kThreads,
          kJson}});
  check({"data stats", "train", {}, {{"subset_name", "Set"}, {"dataset_split", "diverse_instruction"}, kJson}});
  check({"data preview",
         "train",
         {{"output", "page.html"}},
         {{"image_dir", "based/train"},
          {"subset_name", "Set"},
          {"dataset_split", "diverse_instruction"},
          {"output", "other.html"},
          {"limit", "2"},
          kThreads,
          kJson}});
  check({"data leaks",
         "near/a near/b",
         {},
         {{"image_dir", "near/a near/a"},
          {"dataset_split", "diverse_instruction"},
          {"distance", "0"},
          {"fail", "True", {}, 1},
          kThreads,
          kQuiet,
          kJson}});
  check({"init",
         "",
         {{"config", "config.json"}, {"tokenizer", "model"}, {"output_dir", "out"}},
         {{"config", "deeper.json"},
          {"output_dir", "out2"},
          {"tokenizer", "other2", {}, 3},
          {"train_tokenizer", "based/train", {{"tokenizer", ""}}},
          {"min_pixels", "99"},
          {"max_pixels", "9999"},
          {"dtype", "bf16"},
          {"seed", "7"},
          kQuiet,
          kJson}});
  check({"tokenize",
         "",
         {{"model_name", "model"}, {"text", "'thing two'"}},
         {{"model_name", "nowhere", {}, 3},
          {"input", "rows.jsonl", {{"text", ""}}},
          {"text", "two"},
          {"max_len", "1"},
          kThreads,
          kJson}});
  check({"image",
         "halves.png",
         {{"output", "p.png"}},
         {{"resize", "4x4"},
          {"filter", "nearest", {{"resize", "5x5"}}},
          {"own_mode", "True", {{"resize", "3x1"}}},
          {"exif", "True", {{"output", "several train/p1.png"}}},
          {"output", "q.npy"},
          kQuiet,
          kJson}});
  check({"compare", "a b", {}, {{"seed", "7"}, kThreads, kJson}});
  check({"leaderboard",
         "a",
         {{"output", "l.json"}, {"model_name", "Name"}},
         {{"output", "m.json"},
          {"model_name", "Other"},
          {"model_backbone", "x"},
          {"model_size", "2B"},
          {"embedding_dimension", "16"},
          {"max_length_tokens", "9"},
          {"model_release_date", "2025-01-01"},
          {"data_source", "x"},
          {"url", "x"},
          kQuiet,
          kJson}});
  const Result plain = run("selftest"), other = run("selftest --seed 7 --json --quiet");
  ASSERT_EQ(plain.code + other.code, 0) << plain.out << other.out;
  check({"selftest",
         "",
         {{"device", "cuda"}},  // fails at once; a run takes seconds
         {{"seed", "", {}, 0, Seen::output, "", [&] { expect_other_numbers(plain.out, Json::parse(other.out)); }},
          {"device", "tpu", {}, 2},
          {"cublas", "", {}, 0, Seen::output, "", [&] { EXPECT_EQ(run("selftest --device cpu --cublas False").code, 2); }},
          {"tf32", "", {}, 0, Seen::output, "", [&] { EXPECT_EQ(run("selftest --device cpu --tf32 True").code, 2); }},
          kThreads,
          {"quiet", "", {}, 0, Seen::output, "", [&] { EXPECT_TRUE(other.err.empty() && !plain.err.empty()); }},
          {"json", "", {}, 0, Seen::output, "", [&] { EXPECT_FALSE(Json::accept(plain.out)); }}}});
  check({"report", "a", {{"output", "r.html"}}, {{"output", "s.html"}, kThreads, kJson}});
  check({"doctor", "", {}, {kThreads, kJson}});
  check({"completion", "bash", {}, {}});
  check({"version", "", {}, {kJson}});
}

TEST_F(Effects, OfBench) {
  const auto attention = [&](const std::string& options) {
    const Result r = run("bench attention --json --shape mini --rounds 1 " + options);
    EXPECT_EQ(r.code, 0) << options << ": " << r.err;
    return Json::parse(r.out);
  };
  const auto best_peak = [](const Json& found) {
    double best = 0;
    for (const Json& row : found.at("rows")) best = std::max(best, row.at("peak_gflops").get<double>());
    return best;
  };
  const Json plain = attention("");
  check({"bench",
         "attention",
         {{"shape", "none"}},  // fails at once
         {{"shape",
           "",
           {},
           0,
           Seen::output,
           "",
           [&] { EXPECT_NE(attention("--shape mid").at("rows")[0].at("heads"), plain.at("rows")[0].at("heads")); }},
          {"precision",
           "",
           {},
           0,
           Seen::output,
           "",
           [&] {
             const Json bf16 = attention("--precision bf16");
             EXPECT_NE(bf16.at("precision"), plain.at("precision"));
             if (Json::parse(run("doctor --json").out).at("bf16_peak_gflops_one_core") > 0) {
               EXPECT_GT(best_peak(bf16), 1.3 * best_peak(plain));
             }
           }},
          {"rounds",
           "",
           {},
           0,
           Seen::output,
           "",
           [&] { EXPECT_NE(attention("--rounds 2").at("rounds"), plain.at("rounds")); }},
          kThreads,
          {"json", "", {}, 0, Seen::output, "", [&] {
             EXPECT_FALSE(Json::accept(run("bench attention --shape mini --rounds 1").out));
           }}}});
}

TEST_F(Effects, OfDataMini) {
  check({"data mini",
         "",
         {{"output_dir", "out"}, {"train_rows", "1"}, {"test_rows", "1"}},
         {{"output_dir", "out2"}, {"train_rows", "2"}, {"test_rows", "2"}, {"seed", "7"}, kThreads, kQuiet, kJson}});
}

}  // namespace
}  // namespace vlm2vec
