// The forms in which rows name pictures: none, one or several for a side, in JSON lines and in Parquet files.
#include "mmeb/data/row_pictures.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/files.h"
#include "mmeb/data/dataset.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Images = std::vector<std::string>;

class RowPictures : public testing::Test {
 protected:
  TrainRow train(const json& more) const {
    json row = {{"qry", "q"}, {"qry_image_path", ""}, {"pos_text", "p"}, {"pos_image_path", ""}};
    row.update(more);
    write_text(file_, row.dump() + "\n");
    return read_train_rows(file_, 0, true, pictures_)[0];
  }
  EvalRow test(const json& more) const {
    json row = {{"qry_text", "q"}, {"qry_img_path", ""}, {"tgt_text", {"a", "b"}}, {"tgt_img_path", {"", ""}}};
    row.update(more);
    write_text(file_, row.dump() + "\n");
    return read_eval_rows(file_, 0, pictures_)[0];
  }
  const TemporaryFolder folder_{"row-pictures"};
  const std::filesystem::path file_ = folder_ / "rows.jsonl";
  const Pictures pictures_;
};

TEST_F(RowPictures, none_is_null_or_empty_wherever_one_is_optional) {
  const json list = {"x", "y"};
  for (const json& none : {json(nullptr), json(""), json::array(), json::array({nullptr}), json{{"bytes", nullptr}}}) {
    EXPECT_EQ(train({{"qry_image_path", none}}).query, Side("q")) << none;
    EXPECT_EQ(train({{"pos_image_path", none}}).positives[0], Side("p")) << none;
    EXPECT_EQ(test({{"qry_img_path", none}}).query, Side("q")) << none;
    EXPECT_EQ(train({{"pos_text", list}, {"pos_image_path", {none, "y.png"}}}).positives,
              (std::vector<Side>{Side("x"), {"y", "y.png"}}));
    EXPECT_EQ(train({{"neg_text", list}, {"neg_image_path", {none, "y.png"}}}).negatives,
              (std::vector<Side>{Side("x"), {"y", "y.png"}}));
    EXPECT_EQ(train({{"neg_text", "x"}, {"neg_image_path", none}}).negatives, (std::vector<Side>{Side("x")}));
    EXPECT_EQ(train({{"neg_image_path", {none, "y.png"}}}).negatives, (std::vector<Side>{{"<|image_1|>", "y.png"}}));
    EXPECT_EQ(test({{"tgt_img_path", {none, "b.png"}}}).candidates, (std::vector<Side>{Side("a"), {"b", "b.png"}}));
  }
  for (const json& none : {json(nullptr), json("")}) {  // of a whole list
    EXPECT_EQ(train({{"pos_text", list}, {"pos_image_path", none}}).positives,
              (std::vector<Side>{Side("x"), Side("y")}));
    EXPECT_EQ(train({{"neg_text", list}, {"neg_image_path", none}}).negatives,
              (std::vector<Side>{Side("x"), Side("y")}));
    EXPECT_EQ(test({{"tgt_img_path", none}}).candidates, (std::vector<Side>{Side("a"), Side("b")}));
  }
  EXPECT_TRUE(train({{"neg_text", nullptr}, {"neg_image_path", nullptr}}).negatives.empty());
  const json instructed = {{"qry_inst", "<|image_1|> Find."}, {"tgt_inst", "Say."}, {"tgt_img_path", nullptr}};
  EXPECT_EQ(test(instructed).candidates, (std::vector<Side>{Side("a"), Side("b")}));
}

// A text with a list of pictures is one side; a list of texts is as many sides.
TEST_F(RowPictures, a_side_may_have_several) {
  const json two = {"a.png", "b.png"};
  const Images images = {"a.png", "b.png"};
  EXPECT_EQ(train({{"qry_image_path", two}}).query, Side("q", images));
  EXPECT_EQ(train({{"pos_image_path", two}}).positives, (std::vector<Side>{Side("p", images)}));
  EXPECT_EQ(train({{"neg_text", "n"}, {"neg_image_path", two}}).negatives, (std::vector<Side>{Side("n", images)}));
  EXPECT_EQ(train({{"pos_text", {"x", "y"}}, {"pos_image_path", two}}).positives,
            (std::vector<Side>{{"x", "a.png"}, {"y", "b.png"}}));
  EXPECT_EQ(train({{"pos_text", {"x", "y"}}, {"pos_image_path", {two, "c.png"}}}).positives,
            (std::vector<Side>{Side("x", images), {"y", "c.png"}}));
  EXPECT_EQ(
      train({{"neg_image_path", {two, "c.png"}}, {"pos_text", "<|image_1|>"}, {"pos_image_path", "p.png"}}).negatives,
      (std::vector<Side>{Side("<|image_1|>", images), {"<|image_1|>", "c.png"}}));
  const EvalRow row = test({{"qry_img_path", two}, {"tgt_img_path", {two, "c.png"}}});
  EXPECT_EQ(row.query, Side("q", images));
  EXPECT_EQ(row.candidates, (std::vector<Side>{Side("a", images), {"b", "c.png"}}));
  EXPECT_EQ(row.names, (std::vector<std::string>{"a.png, b.png:a", "c.png:b"}));
  EXPECT_EQ(test({{"tgt_text", ""}, {"tgt_img_path", {two, "c.png"}}}).candidates[0], Side("", images));
}

TEST_F(RowPictures, tokens_name_them_by_number) {
  write_text(folder_ / "a.png", ""), write_text(folder_ / "b.png", "");
  const Pictures here(folder_.path());
  const auto order = [&](const std::string& text) {
    const EncoderInput input = encoder_input({text, Images{"a.png", "b.png"}}, "#", here);
    std::string names;
    for (const PictureSource& source : input.images) names += std::filesystem::path(source.name()).stem().string();
    return names + " " + input.text;
  };
  EXPECT_EQ(order("<|image_1|> <|image_2|>"), "ab # #");
  EXPECT_EQ(order("<|image_2|>, then <|image_1|>"), "ba #, then #");
  EXPECT_EQ(order("# x <|image_2|>"), "ab # x #");
  EXPECT_EQ(order("<|image_1|> <|image_1|>"), "ab <|image_1|> <|image_1|>");  // which text_fault refuses
  const auto fault = [](const std::string& text, const Images& images) { return text_fault({text, images}, "#"); };
  const Images one = {"a.png"}, two = {"a.png", "b.png"};
  EXPECT_EQ(fault("<|image_2|> <|image_1|>", two), "");
  EXPECT_EQ(fault("<|image_1|> #", two), "");
  EXPECT_EQ(fault("a", {}), "");
  EXPECT_EQ(fault("<|image_1|> of WebQA", {}), "");
  EXPECT_NE(fault("<|image_1|> <|image_1|>", two).find("has <|image_1|> and 2 pictures"), std::string::npos);
  EXPECT_NE(fault("<|image_2|>", one).find("has <|image_2|> and 1 picture;"), std::string::npos);
  EXPECT_NE(fault("<|image_0|>", one).find("has <|image_0|> and 1 picture;"), std::string::npos);
  EXPECT_NE(fault("<|image_1|>", two).find("has 1 image token "), std::string::npos);
  EXPECT_NE(fault("<|image_1|> and # literally", one).find("has 2 image tokens"), std::string::npos);
  EXPECT_NE(fault("none", one).find("has 0 image tokens"), std::string::npos);
  EXPECT_NE(fault("", {}).find("neither text nor picture"), std::string::npos);
}

TEST_F(RowPictures, mistakes_are_named) {
  const json two = {"a.png", "b.png"};
  const auto refused = [&](const json& more, const std::string& message) {
    expect_error(Exit::data, "rows.jsonl:1: " + message, [&] { train(more); });
  };
  refused({{"qry_image_path", 3}}, "qry_image_path is 3, expected a path, a data URI");
  refused({{"qry_image_path", {"a.png", two}}}, "qry_image_path[1] is of type array, expected a path");
  refused({{"pos_text", {"x"}}, {"pos_image_path", "x.png"}}, "pos_text is a list and pos_image_path is not");
  refused({{"pos_text", {"x"}}, {"pos_image_path", two}}, "pos_text has 1 item and pos_image_path 2");
  refused({{"qry_image_path", {{"bytes", {137, 80}}}}}, "qry_image_path: bytes is of type array, expected {\"bytes\"");
  refused({{"qry_image_path", {{"url", "http://x"}}}}, "qry_image_path: url is of type string, expected {\"bytes\"");
  refused({{"qry_image_path", std::string("a.png\0b.png", 11)}}, "qry_image_path: \"a.png b.png\" has a NUL character");
  expect_error(Exit::data, "rows.jsonl:1: tgt_text has 2 items and tgt_img_path 1", [&] {
    test({{"tgt_img_path", {"a.png"}}});
  });
  expect_error(Exit::data, "rows.jsonl:1: tgt_text is a list and tgt_img_path is not", [&] {
    test({{"tgt_img_path", "a.png"}});
  });
  expect_error(Exit::data, "rows.jsonl:1: tgt_text is of type string, expected a list", [&] {
    test({{"tgt_text", "a"}, {"tgt_img_path", two}});
  });
}

}  // namespace
}  // namespace vlm2vec
