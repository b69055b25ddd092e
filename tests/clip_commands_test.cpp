// The commands with a CLIP: made by init with the reference's tokenizer, trained, evaluated, explained, merged.
#include <cmath>
#include <numeric>

#include "cli_fixture.h"
#include "golden.h"
#include "lines_of_json.h"
#include "tensor/ops.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

class ClipCommands : public Cli {
 protected:
  void SetUp() override {
    NEEDS_GOLDEN("clip")
    make_model();
    const Json vocabulary = read_json(golden("clip/model/config.json")).at("text_config").at("vocab_size");
    Json tower = {{"intermediate_size", 24}, {"num_hidden_layers", 2}, {"num_attention_heads", 2}, {"hidden_size", 16}};
    Json config = {{"model_type", "clip"}, {"projection_dim", 16}, {"text_config", tower}, {"vision_config", tower}};
    config["text_config"].update({{"vocab_size", vocabulary}, {"eos_token_id", 2}});
    config["vision_config"].update({{"image_size", 16}, {"patch_size", 4}});
    write("clip.json", config.dump());
    must("init --config clip.json --output_dir clip --tokenizer " + golden("clip/model").string());
    write("rows.jsonl", R"({"text": "a thing"})" "\n" R"({"image": "train/p1.png"})" "\n"
                        R"({"text": "a thing", "image": "train/p1.png"})" "\n");
  }
  void must(const std::string& line) const {
    const Result r = run(line + " --quiet");
    ASSERT_EQ(r.code, 0) << line << ": " << r.err;
  }
  void refused(int code, const std::string& part, const std::string& line) const {
    const Result r = run(line);
    EXPECT_EQ(r.code, code) << line;
    EXPECT_TRUE(has(r.err, part)) << line << ": " << r.err;
  }
  std::vector<std::vector<float>> embed(const std::string& options, const std::string& rows = "rows.jsonl") const {
    must("embed --input " + rows + " --output x.npy " + options);
    const Tensor vectors = read_npy(folder_ / "x.npy");
    std::vector<std::vector<float>> all;
    for (int64_t row = 0; row < vectors.rows(); ++row) all.push_back(to_vector<float>(vectors.rows(row, row + 1)));
    return all;
  }
};

TEST_F(ClipCommands, train_and_eval) {
  const std::string train = "train --model_name clip --dataset_name train --per_device_train_batch_size 5 "
                            "--temperature 0.1 --learning_rate 0.02 --lr_scheduler_type constant ",
                    eval = "eval --dataset_name test --encode_output_path out --overwrite True ";
  must(train + "--max_steps 120 --gc_q_chunk_size 2 --gc_p_chunk_size 2 --output_dir full");
  const auto log = lines_of_json(folder_ / "full/log.jsonl");
  ASSERT_EQ(log.size(), 120u);
  EXPECT_NEAR(log.front().at("loss").get<double>(), std::log(5), 0.5);
  EXPECT_LT(log.back().at("loss").get<double>(), 0.25 * std::log(5)) << "five pairs";
  must(eval + "--model_name full");
  EXPECT_EQ(read_json(folder_ / "out/Set_score.json").at("acc"), 1.0);
  const NamedTensors before = load_safetensors(folder_ / "clip/model.safetensors"),
                     after = load_safetensors(folder_ / "full/model.safetensors");
  EXPECT_EQ(after.size(), before.size());
  EXPECT_EQ(after.at("logit_scale").shape(), Shape{});
  EXPECT_EQ(item(after.at("logit_scale")), item(before.at("logit_scale")));
  for (const char* name : {"vision_model.embeddings.class_embedding", "text_projection.weight"})
    EXPECT_NE(to_vector<float>(after.at(name)), to_vector<float>(before.at(name))) << name;
  const std::string file = "preprocessor_config.json";
  EXPECT_EQ(read_json(folder_ / "full" / file), read_json(folder_ / "clip" / file));  // no image_positions

  must(train + "--max_steps 8 --lora --lora_r 4 --lora_dropout 0.1 --image_encoder_freeze True --output_dir adapter");
  must(eval + "--model_name clip --adapter adapter");
  EXPECT_NE(embed("--model_name clip --adapter adapter"), embed("--model_name clip"));
  must("merge --model_name clip --adapter adapter --output_dir merged");
  const auto merged = embed("--model_name merged"), adapted = embed("--model_name clip --adapter adapter");
  for (size_t row = 0; row < 3; ++row)
    for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(merged[row][i], adapted[row][i], 1e-5);
}

TEST_F(ClipCommands, init_takes_each_matrix_from_its_own_distribution) {
  const NamedTensors weights = load_safetensors(folder_ / "clip/model.safetensors");
  const auto deviation = [&](const std::string& name) {
    const Tensor& x = weights.at(name);
    return std::sqrt(sum_of_squares(x) / double(x.numel()));
  };
  EXPECT_NEAR(deviation("text_projection.weight"), 0.25, 0.05);
  EXPECT_NEAR(deviation("text_model.embeddings.token_embedding.weight"), 0.02, 0.002);
  EXPECT_NEAR(deviation("vision_model.encoder.layers.0.self_attn.q_proj.weight"), 0.125, 0.025);
}

TEST_F(ClipCommands, embed_takes_a_text_a_picture_or_both) {
  const Result r = run("embed --model_name clip --input rows.jsonl --output x.npy");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(has(r.err, "image token")) << r.err;
  const auto plain = embed("--model_name clip"), official = embed("--model_name clip --official_mask True");
  EXPECT_NE(plain[0], official[0]);
  EXPECT_EQ(plain[1], official[1]);  // the mask is of texts
  EXPECT_NE(plain[2], official[2]);
  // The stored form of MMEB, in both official styles.
  write("stored.jsonl", R"({"text": "a thing\n"})" "\n" R"({"text": "<|image_1|>\n", "image": "train/p1.png"})" "\n"
                        R"({"text": "<|image_1|>\na thing\n", "image": "train/p1.png"})" "\n");
  EXPECT_EQ(embed("--model_name clip --prompt vlm2vec-v1", "stored.jsonl"), plain);
  EXPECT_EQ(embed("--model_name clip --prompt vlm2vec-v2", "stored.jsonl"), plain);
  refused(3, "stored.jsonl:2: the text", "embed --model_name clip --input stored.jsonl --output y.npy");
  must("embed --model_name clip --input rows.jsonl --output index.npy");
  EXPECT_EQ(run("search --index index.npy --image train/p1.png --top 1 --quiet").code, 0);
  write("two.jsonl", R"({"image": ["train/p1.png", "train/p2.png"]})");
  refused(3, "has 2 pictures; this model reads a text, a picture or both",
          "embed --model_name clip --input two.jsonl --output y.npy");
}

TEST_F(ClipCommands, a_model_keeps_the_mask_of_its_training) {
  const std::string train = "train --dataset_name train --per_device_train_batch_size 4 --max_steps 2 --model_name ",
                    rows = "embed --input rows.jsonl --output y.npy ", official = " --official_mask True",
                    plain = " --official_mask False", file = "/preprocessor_config.json";
  const auto mask_of = [&](const std::string& of) { return read_json(folder_ / (of + file)).at("official_mask"); };
  for (const std::string folder : {"whole", "adapter"}) {
    const std::string lora = folder == "whole" ? "" : " --lora --lora_r 4",
                      model = (folder == "whole" ? "--model_name " : "--model_name clip --adapter ") + folder;
    must(train + "clip --output_dir " + folder + lora + official);
    EXPECT_EQ(mask_of(folder), true);
    const auto masked = embed(model + official);
    EXPECT_EQ(embed(model), masked);
    EXPECT_NE(embed(model + plain)[0], masked[0]);
    EXPECT_EQ(embed(model + " --embedding_cache cache"), masked);
    EXPECT_NE(embed(model + plain + " --embedding_cache cache")[0], masked[0]);
    const std::string note = folder + file + ": the model was trained with the official mask, which is ";
    EXPECT_TRUE(has(run(rows + model).err, note + "used\n"));
    EXPECT_TRUE(has(run(rows + model + plain).err, note + "not used: --official_mask False\n"));
    const Result eval = run("eval --dataset_name test --encode_output_path " + folder + "_eval " + model);
    EXPECT_TRUE(has(eval.err, note + "used\n")) << eval.err;
    refused(2, "training_state.json: was written with --official_mask true, now it is \"False\"",
            train + "clip --resume_from auto --output_dir " + folder + lora + plain);
    must("embed --input rows.jsonl --output index.npy " + model);
    must("embed --input rows.jsonl --output plain.npy " + model + plain);
    for (const std::string index : {"index.npy", "plain.npy"}) {  // search embeds its query as the index was made
      const Result found = run("search --text 'a thing' --top 1 --json --index " + index);
      EXPECT_NEAR(Json::parse(found.out).at("score").get<double>(), 1, 1e-6) << found.err;
    }
    refused(3, "was made with another --official_mask than index.npy", "search --index index.npy --queries plain.npy");
  }
  must("merge --model_name clip --adapter adapter --output_dir merged");
  EXPECT_EQ(mask_of("merged"), true);
  must(train + "whole --output_dir other" + plain);
  EXPECT_EQ(mask_of("other"), false);
  EXPECT_EQ(embed("--model_name other"), embed("--model_name other" + plain));
}

TEST_F(ClipCommands, texts_end_at_the_models_limit) {
  std::string words;
  for (int i = 0; i < 90; ++i) words += "a ";
  write("long.jsonl", Json{{"text", words}}.dump() + "\n" + R"({"text": "a b"})" + "\n");
  const std::string embed = "embed --model_name clip --input long.jsonl --output x.npy ";
  for (const char* cache : {"", "--embedding_cache cache", "--embedding_cache cache"}) {  // the last: all are there
    const Result r = run(embed + cache);
    EXPECT_TRUE(has(r.err, "the model's limit of tokens cut 1 of 2 texts, first: row 1 of long.jsonl;")) << r.err;
  }
  EXPECT_TRUE(has(run(embed + "--max_len 3").err, "--max_len 3 cut 2 of 2 texts"));
  refused(2, "--max_len 1 has no room for the 2 tokens around every text", embed + "--max_len 1");
}

TEST_F(ClipCommands, tokenize_prints_what_the_model_reads) {
  const std::string text = "a thing, a thing and a thing";
  write("text.jsonl", Json{{"text", text}}.dump() + "\n");
  for (const int max_len : {0, 2, 5, 77}) {
    const std::string limit = sentence(" --max_len ", max_len);
    const auto encoder = load_encoder(folder_ / "clip", {.max_len = max_len});
    const EncoderInput row{text};
    const auto ids = to_vector<int64_t>(encoder->prepare({&row, 1}).ids);
    EXPECT_EQ(ids.size() == 5, max_len == 5);
    EXPECT_EQ(Json::parse(run("tokenize --model_name clip --json --text '" + text + "'" + limit).out).at("ids"), ids);
    EXPECT_EQ(Json::parse(run("tokenize --model_name clip --input text.jsonl" + limit).out).at("ids"), ids);
  }
  refused(2, "--max_len 1 has no room for the 2 tokens", "tokenize --model_name clip --text a --max_len 1");
}

// The shorter side of a line of one pixel becomes 16, the longer one millions.
TEST_F(ClipCommands, pictures_that_grow_beyond_all_bounds_are_bad_rows) {
  for (const auto& [width, height] : {std::pair(1, 900'000), {900'000, 1}})
    write_png(folder_ / sentence("train/", width, ".png"), Image(width, height, 3));
  write("lines.jsonl", R"({"image": "train/1.png"})" "\n" R"({"image": "train/p1.png"})" "\n"
                       R"({"image": "train/900000.png"})" "\n");
  const std::string embed = "embed --model_name clip --input lines.jsonl --output lines.npy ";
  refused(3, " before the middle is cut out, expected at most 178956970 pixels; cut the picture", embed);
  must(embed + "--bad_rows skip");
  EXPECT_EQ(read_npy(folder_ / "lines.npy").rows(), 1);
  const auto skipped = lines_of_json(folder_ / "lines.npy.skipped_rows.jsonl");
  const auto fault = [&](size_t i) { return skipped.at(i).at("error").get<std::string>(); };
  EXPECT_TRUE(has(fault(0), "train/1.png: 1x900000 pixels would become 16x14400000 before")) << fault(0);
  EXPECT_TRUE(has(fault(1), "train/900000.png: 900000x1 pixels would become 14400000x16 before")) << fault(1);
}

TEST_F(ClipCommands, explain_and_parity) {
  const std::string input = "explain --model_name clip --text 'a thing' --image train/p1.png ";
  const Result r = run(input + "--target 'thing 2' --heat_map map.png --json --dump reference/one.safetensors");
  EXPECT_EQ(r.code, 4) << "no such folder";
  fs::create_directories(folder_ / "reference");
  const Result ok = run(input + "--target 'thing 2' --heat_map map.png --json --dump reference/one.safetensors");
  ASSERT_EQ(ok.code, 0) << ok.err;
  const Json told = Json::parse(ok.out).at("attribution"), picture = told.at("pictures").at(0);
  write("pair.jsonl", R"({"text": "a thing", "image": "train/p1.png"})" "\n" R"({"text": "thing 2"})" "\n");
  const auto pair = embed("--model_name clip", "pair.jsonl");
  EXPECT_NEAR(std::inner_product(pair[0].begin(), pair[0].end(), pair[1].begin(), 0.0), told.at("score"), 1e-6);
  const auto shares = picture.at("shares").get<std::vector<float>>();
  double sum = 0, size = 0;
  const auto add = [&](double share) { sum += share, size += std::abs(share); };
  for (const Json& word : told.at("words")) add(word.at("share"));
  for (const float share : shares) add(share);
  EXPECT_GT(size, 0.01);
  EXPECT_NEAR(sum, told.at("score").get<double>() - told.at("score_of_nothing").get<double>(), 0.01 * size);
  EXPECT_EQ(told.at("words").at(1).at("piece"), "a</w>");
  EXPECT_TRUE(
      has(run(input + "--target 'thing 2'").out, "Baseline (\"<|endoftext|>\" for each word, plain pictures): "));
  const auto seen = load_encoder(folder_ / "clip")->processor.picture({}, folder_ / "train/p1.png");
  EXPECT_EQ(read_rgb(folder_ / "map.png"), heat_map({*seen, picture.at("rows"), picture.at("columns"), shares}));
  EXPECT_EQ(load_safetensors(folder_ / "reference/one.safetensors").at("pixel_values").shape(), (Shape{1, 3, 16, 16}));
  write("reference/cases.json",
        Json{{{"name", "one"}, {"text", "a thing"}, {"images", {(folder_ / "train/p1.png").string()}}}}.dump());
  const std::string parity = "parity --model_name clip --reference reference ";
  EXPECT_EQ(run(parity).code, 0) << run(parity).err;
  EXPECT_EQ(run(parity + "--official_mask True").code, 1);
  EXPECT_EQ(run("explain --model_name clip --image train/p1.png").code, 0);
}

// Its tokenizer makes no token of a blank.
TEST_F(ClipCommands, what_says_nothing_is_the_end_token) {
  const auto encoder = load_encoder(folder_ / "clip", {.f64 = true});
  const EncoderInput text{"a thing"}, other{"thing 2"};
  const Tensor target = vlm2vec::embed(*encoder, {&other, 1}, 1);
  const double nothing = attribute(*encoder, text, target).nothing;
  const Tokenizer& tokenizer = encoder->processor.tokenizer();
  const int64_t begin = tokenizer.begin_ids().at(0), end = tokenizer.end_ids().at(0);
  for (Parameter* p : encoder->backbone->parameters()) {
    if (p->path() != "text_model.embeddings.token_embedding.weight") continue;
    const Tensor ends = p->value().clone();
    for (int64_t row = 0; row < ends.rows(); ++row)
      if (row != begin) copy_bytes(p->value().rows(end, end + 1), ends.rows(row, row + 1));
    p->set(ends);
  }
  EXPECT_NEAR(attribute(*encoder, text, target).score, nothing, 1e-12);
}

TEST_F(ClipCommands, what_is_not_for_clip_is_refused) {
  refused(2, "--official_mask: Qwen2-VL has one mask only; the option is for CLIP",
          "embed --model_name model --input rows.jsonl --output y.npy --official_mask True");
  refused(2, "a tokenizer of CLIP's kind is not learned here; give --tokenizer",
          "init --config clip.json --train_tokenizer train --output_dir other");
  refused(2, "--min_pixels: by the CLIP family every picture becomes 16x16 pixels",
          "init --config clip.json --tokenizer clip --min_pixels 64 --output_dir other");
  refused(2, "CLIP has two towers, so leave the option out",
          "merge --model_name clip --sentence_transformers True --output_dir other");
}

}  // namespace
}  // namespace vlm2vec
