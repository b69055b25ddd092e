// The program's commands at work: what they write and print.
#include <algorithm>
#include <cstring>

#include "cli_fixture.h"
#include "golden.h"
#include "tensor/io/safetensors.h"

namespace vlm2vec {
namespace {

TEST_F(Cli, InitReplacesNothingButACheckpoint) {
  make_model();
  write("thesis/chapter.txt", "years of work");
  const Result r = run("init --config config.json --tokenizer model --output_dir thesis --quiet");
  EXPECT_EQ(r.code, 2);
  EXPECT_TRUE(has(r.err, "chapter.txt")) << r.err;
  EXPECT_EQ(read_text(folder_ / "thesis/chapter.txt"), "years of work");
  EXPECT_EQ(run("init --config config.json --tokenizer half --output_dir model --quiet").code, 3);  // no such tokenizer
  EXPECT_EQ(run("init --config config.json --tokenizer model --output_dir copy --quiet").code, 0);
  EXPECT_EQ(run("init --config config.json --tokenizer model --output_dir copy --seed 2 --quiet").code, 0);
}

TEST_F(Cli, InitWritesACompleteCheckpoint) {
  make_model();
  for (const char* file : {"config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"})
    EXPECT_TRUE(fs::exists(folder_ / "model" / file)) << file;
  EXPECT_EQ(read_json(folder_ / "model/preprocessor_config.json").at("max_pixels"), 4096);
  ASSERT_EQ(
      run("init --config config.json --tokenizer model --min_pixels 64 --max_pixels 4096 --output_dir again --quiet")
          .code,
      0);
  EXPECT_EQ(read_text(folder_ / "model/model.safetensors"), read_text(folder_ / "again/model.safetensors"));
  EXPECT_EQ(read_text(folder_ / "model/tokenizer.json"), read_text(folder_ / "again/tokenizer.json"));
  const Result half =
      run("init --config config.json --tokenizer model --output_dir half --dtype=bf16 --seed 7 --json --quiet");
  ASSERT_EQ(half.code, 0) << half.err;
  EXPECT_EQ(read_json(folder_ / "half/config.json").at("torch_dtype"), "bfloat16");
  int64_t numbers = 0;
  for (const auto& [name, tensor] : load_safetensors(folder_ / "half/model.safetensors")) {
    EXPECT_EQ(int(tensor.dtype()), int(DType::bf16)) << name;
    numbers += tensor.numel();
  }
  EXPECT_EQ(Json::parse(half.out).at("parameters"), numbers);
  const Result both = run("init --config config.json --tokenizer model --train_tokenizer train --output_dir x");
  EXPECT_EQ(both.code, 2) << both.err;
}

TEST_F(Cli, EvalSaysWhichSetsHaveChanged) {
  make_model();
  const std::string eval = "eval --model_name model --dataset_name test --encode_output_path scores";
  ASSERT_EQ(run(eval).code, 0);
  const Result kept = run(eval);
  EXPECT_TRUE(has(kept.err, "1 of 1 sets are finished in scores and kept; --overwrite True")) << kept.err;
  EXPECT_FALSE(has(kept.err, "changed")) << kept.err;
  write("test/Set/test.jsonl", read_text(folder_ / "test/Set/test.jsonl") + read_text(folder_ / "test/Set/test.jsonl"));
  const Result again = run(eval);
  EXPECT_TRUE(has(again.err, "rows or pictures have changed since the scores were made; evaluated again: Set"))
      << again.err;
  EXPECT_EQ(read_json(folder_ / "scores/Set_score.json").at("num_pred"), 6);
}

TEST_F(Cli, TokenizePrintsIdsAndPieces) {
  make_model();
  write("rows.jsonl", "{\"text\": \"thing\"}\n{\"text\": \"Name it.<|image_pad|>\"}\n");
  const Result lines = run("tokenize --model-name model --input rows.jsonl");
  ASSERT_EQ(lines.code, 0) << lines.err;
  std::istringstream stream(lines.out);
  std::string first, second;
  std::getline(stream, first), std::getline(stream, second);
  EXPECT_EQ(Json::parse(second).at("ids").back(), 1);
  const Json text = Json::parse(run("tokenize --model_name model --text thing --json").out);
  EXPECT_EQ(text.at("ids"), Json::parse(first).at("ids"));
  const std::string prompt = run("tokenize --model_name model --text 'Name \"it\".'").out;
  EXPECT_EQ(prompt.substr(0, prompt.find('\n')), R"(prompt	"Name \"it\".")");
  EXPECT_EQ(Json::parse(run("tokenize --model_name=model --text='Name it.' --max_len 2 --json").out).at("ids").size(),
            2u);
  write("bad.jsonl", "{\"text\": \"thing\"}\n{\"txet\": 1}\n");
  const Result bad = run("tokenize --model_name model --input bad.jsonl");
  EXPECT_EQ(bad.code, 3);
  EXPECT_TRUE(has(bad.err, "bad.jsonl:2:")) << bad.err;
}

TEST_F(Cli, EmbedWritesUnitVectorsWhateverTheBatch) {
  make_model();
  write("rows.jsonl",
        "{\"text\": \"thing\"}\n{\"text\": \"<|image_pad|>\\nName it.\", \"image\": \"train/p1.png\"}\n"
        "{\"text\": \"<|image_pad|><|image_pad|>\", \"image\": [\"train/p1.png\", \"train/p2.png\"]}\n");
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output a.npy --quiet").code, 0);
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output b.npy --quiet --batch_size 1 --threads 1").code,
            0);
  const std::string npy = read_text(folder_ / "a.npy");
  EXPECT_EQ(npy, read_text(folder_ / "b.npy"));
  ASSERT_EQ(npy.size(), 128 + 3 * 16 * 4u);
  EXPECT_EQ(npy.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_TRUE(has(npy, "'descr': '<f4', 'fortran_order': False, 'shape': (3, 16)"));
  for (size_t row = 0; row < 3; ++row) {
    float x[16], square = 0;
    std::memcpy(x, npy.data() + 128 + row * sizeof x, sizeof x);
    for (const float v : x) square += v * v;
    EXPECT_NEAR(square, 1, 1e-6);
  }
  const Result emulated = run("embed --model_name model --input rows.jsonl --output c.npy --quiet --device emu");
  EXPECT_EQ(emulated.code, 0) << emulated.err;

  const Result piped =
      run("embed --model_name model --input /dev/stdin --image_dir . --output piped.npy --quiet", "cat rows.jsonl | ");
  EXPECT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(read_text(folder_ / "piped.npy"), read_text(folder_ / "a.npy"));
  write("bad.jsonl", "{\"text\": \"<|image_pad|>\", \"image\": \"train/none.png\"}\n");
  const Result bad = run("embed --model_name model --input bad.jsonl --output d.npy --quiet");
  EXPECT_EQ(bad.code, 3);
  EXPECT_TRUE(has(bad.err, "none.png")) << bad.err;
  EXPECT_FALSE(fs::exists(folder_ / "d.npy"));
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output nowhere/d.npy --quiet").code, 4);
  write("bad.jsonl", "\n{\"txet\": \"thing\"}\n");
  const Result nothing = run("embed --model_name model --input bad.jsonl --output d.npy --quiet");
  EXPECT_EQ(nothing.code, 3);
  EXPECT_TRUE(has(nothing.err, "bad.jsonl:2: has the unknown field txet")) << nothing.err;
}

// A picture that is black on its left and white on its right half, with a flaw: bytes follow its end.
TEST_F(Cli, ImageDecodesAndResizes) {
  Image halves(4, 2, 1);
  for (int y = 0; y < 2; ++y) halves.at(y, 2)[0] = halves.at(y, 3)[0] = 255;
  write_png(folder_ / "halves.png", halves);
  write("halves.png", read_text(folder_ / "halves.png") + "?");
  write("black.pbm", "P1 1 1 1");

  const Result one = run("image halves.png --output a.npy --json");
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(one.err, "halves.png: 1 byte follows the end of the picture\n");
  EXPECT_EQ(Json::parse(one.out).at("pictures")[0].at("width"), 4);
  const std::string npy = read_text(folder_ / "a.npy");
  EXPECT_TRUE(has(npy, "'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 3), }"));
  EXPECT_EQ(npy.substr(128),
            std::string(6, '\0') + std::string(6, '\xFF') + std::string(6, '\0') + std::string(6, '\xFF'));

  ASSERT_EQ(run("image --resize 2x1 halves.png --filter=box --output b.png --quiet").code, 0);
  EXPECT_EQ(read_rgb(folder_ / "b.png").pixels, (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
  ASSERT_EQ(run("image halves.png black.pbm --output all --resize 3x1 --filter nearest --quiet").code, 0);
  EXPECT_EQ(read_text(folder_ / "all/black.pbm.npy").substr(128), std::string(9, '\0'));
  EXPECT_EQ(read_text(folder_ / "all/halves.png.npy").size(), 128 + 9u);

  EXPECT_TRUE(has(run("image --output a.npy").err, "FILE... is missing"));
  EXPECT_TRUE(has(run("image black.pbm --output a.jpg").err, "ends in .npy or .png"));
  EXPECT_TRUE(has(run("image black.pbm --output a.npy --resize 3").err, "expected WIDTHxHEIGHT"));
  EXPECT_TRUE(has(run("image black.pbm --output a.npy --resize 3x3 --filter soft").err, "no filter \"soft\""));
  EXPECT_EQ(run("image black.pbm --output a.npy --own_mode").code, 2);
  EXPECT_EQ(run("image black.pbm all/../black.pbm --output all").code, 2);
  const Result text = run("image config.txt --output a.npy", "echo no picture >config.txt; ");
  EXPECT_EQ(text.code, 3);
  EXPECT_TRUE(has(text.err, "config.txt: is a text that begins with \"no picture"));
}

TEST_F(Cli, ImageResolutionIsV1AndFlawsAreCounted) {
  make_model();
  for (const char* name : {"p1.png", "p2.png"}) {
    const std::string picture = read_text(folder_ / "train" / name);
    write(std::string("train/") + name, picture + "?"), write(std::string("test/") + name, picture + "?");
  }
  write("rows.jsonl",
        "{\"text\": \"<|image_pad|>\", \"image\": \"train/p1.png\"}\n"
        "{\"text\": \"<|image_pad|><|image_pad|>\", \"image\": [\"train/p1.png\", \"train/p2.png\"]}\n");
  const std::string embed = "embed --model_name model --input rows.jsonl --output ";
  const std::string note = "2 pictures were read in spite of flaws; the first by name: train/p1.png: 1 byte follows";
  const Result plain = run(embed + "a.npy");
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_TRUE(has(plain.err, note)) << plain.err;
  ASSERT_EQ(run(embed + "b.npy --image_resolution low --quiet").code, 0);
  const Result other = run(embed + "c.npy --image_resolution small");  // no side is above 1344
  ASSERT_EQ(other.code, 0);
  EXPECT_TRUE(has(other.err, "small is none of high, mid and low")) << other.err;
  EXPECT_NE(read_text(folder_ / "a.npy"), read_text(folder_ / "b.npy"));
  EXPECT_EQ(read_text(folder_ / "a.npy"), read_text(folder_ / "c.npy"));

  const Result train =
      run("train --model_name model --dataset_name train --per_device_train_batch_size 5 --max_steps 1 "
          "--image_resolution low --output_dir out");
  EXPECT_EQ(train.code, 0) << train.err;
  EXPECT_TRUE(has(train.err, "2 pictures were read in spite of flaws")) << train.err;
  const Result eval =
      run("eval --model_name model --dataset_name test --encode_output_path scores --image_resolution low");
  EXPECT_EQ(eval.code, 0) << eval.err;
  EXPECT_TRUE(has(eval.err, "2 pictures were read in spite of flaws")) << eval.err;

  const Result no_token = run("explain --model_name model --image train/p1.png");
  EXPECT_EQ(no_token.code, 2);
  EXPECT_TRUE(has(no_token.err, "--prompt vlm2vec-v2 puts it there")) << no_token.err;
  const Result model = run(embed + "d.npy --adapter model");
  EXPECT_EQ(model.code, 3);
  EXPECT_TRUE(has(model.err, "this is a whole model")) << model.err;
  write("train/p2.png", "no picture");
  const Result damaged = run(embed + "d.npy");
  EXPECT_EQ(damaged.code, 3);
  EXPECT_TRUE(has(damaged.err, "row 2 of rows.jsonl: train/p2.png: is not a picture")) << damaged.err;
}

TEST_F(Cli, RotatedPicturesAreCountedAndTurnedOnDemand) {
  if (!fs::exists(golden("exif"))) GTEST_SKIP() << "not run: exif is not in " << golden("");
  make_model();
  for (const char* folder : {"train", "test"})
    fs::copy_file(golden("exif/6.png"), folder_ / folder / "p1.png", fs::copy_options::overwrite_existing);
  write("rows.jsonl", "{\"text\": \"<|image_pad|>\", \"image\": \"train/p1.png\"}\n{\"text\": \"two\"}\n");
  const auto embed = [&](const std::string& more) {
    const Result r = run("embed --model_name model --input rows.jsonl --output e.npy " + more);
    EXPECT_EQ(r.code, 0) << r.err;
    return std::pair(read_text(folder_ / "e.npy"), r.err);
  };
  const auto [stored, note] = embed("");
  const auto [upright, silence] = embed("--exif True");
  EXPECT_TRUE(has(note, "1 picture is stored rotated; --exif True turns it upright: train/p1.png")) << note;
  EXPECT_FALSE(has(silence, "rotated")) << silence;
  EXPECT_NE(stored, upright);
  EXPECT_EQ(Json::parse(read_text(folder_ / "e.npy.json")).at("exif"), true);
  EXPECT_TRUE(has(run("data check train --decode True").err, "1 of 5 pictures are stored rotated; --exif True turns"));
  const Result turned = run("image train/p1.png --exif True --output upright.png --json");
  EXPECT_EQ(Json::parse(turned.out).at("pictures").at(0).at("width"), 3) << turned.out;  // stored as 5 x 3
}

TEST_F(Cli, TrainsAndEvaluates) {
  make_model();
  const std::string train = "train --model_name model --dataset_name train --per_device_train_batch_size 4 --quiet ";
  const Result cpu = run(train + "--output_dir out --max_steps 2 --gc-q-chunk-size 3 --json --lora=false");
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  EXPECT_EQ(cpu.err, "");
  EXPECT_EQ(Json::parse(cpu.out).at("steps"), 2);
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors"));
  const Result emulated =
      run(train +
          "--output_dir emu --max_steps 1 --device emu --lora --use_dora False --lora_target_modules q_proj v_proj");
  EXPECT_EQ(emulated.code, 0) << emulated.err;

  const Result eval =
      run("eval --model_name out --dataset_name test --encode_output_path scores/one --quiet --json --subset_name Set");
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(Json::parse(eval.out).at("datasets").at("Set").at("rows"), 3);
  const Result table = run(
      "eval --model_name model --adapter emu --dataset_name test --encode_output_path scores/two --beside scores/one");
  ASSERT_EQ(table.code, 0) << table.err;
  EXPECT_TRUE(has(table.out, "chance") && has(table.out, "one") && has(table.out, "two")) << table.out;
}

TEST_F(Cli, AStoppedRunSaysTheCommandThatGoesOn) {
  make_model();
  write("stop.sh", "for i in $(seq 500); do grep -qs step $1/log.jsonl && kill -$2 $3 && exit; sleep 0.02; done\n");
  const auto stop = [&](const std::string& output, const std::string& signal, const std::string& before) {
    return run("train --resume-from=none --model_name model --dataset_name train --output_dir " + output +
                   " --max_steps 1000000 --per_device_train_batch_size 4 --run_name \"it's\" --quiet",
               "{ sh stop.sh " + output + " " + signal + " $$ & } && " + before + "exec ");
  };
  const Result by_key = stop("out", "INT", ""),
               by_script = stop("out2", "TERM", "export VLM2VEC_AGAIN='make demo' && ");
  EXPECT_EQ(by_key.code, 130);
  EXPECT_TRUE(has(by_key.err, "Stopping as soon as that is safe. Press Ctrl-C again to quit at once"));
  EXPECT_TRUE(by_key.err.ends_with("To continue:\n  " PROGRAM
                                   " train --model_name model --dataset_name train --output_dir "
                                   "out --max_steps 1000000 --per_device_train_batch_size 4 --run_name 'it'\\''s' "
                                   "--quiet --resume_from auto\n"))
      << by_key.err;
  EXPECT_EQ(by_script.code, 143);
  EXPECT_TRUE(by_script.err.ends_with("To continue:\n  make demo\n")) << by_script.err;
}

TEST_F(Cli, TrainsAppliesAndMergesAnAdapter) {
  make_model();
  const Result trained = run(
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 3 --learning_rate 0.1 "
      "--lr_scheduler_type constant --lora --output_dir adapter");
  ASSERT_EQ(trained.code, 0) << trained.err;
  write("rows.jsonl", "{\"text\": \"thing 1\"}\n");
  const auto embed = [&](const std::string& model, const std::string& more = "") {
    const Result result = run("embed --model_name " + model + " --input rows.jsonl --output x.npy " + more);
    EXPECT_EQ(result.code, 0) << result.err;
    const std::string npy = read_text(folder_ / "x.npy");
    std::vector<float> numbers(16);
    std::memcpy(numbers.data(), npy.data() + npy.size() - 64, 64);
    return std::pair(numbers, result.err);
  };
  const auto [adapted, notes] = embed("model", "--adapter adapter --adapter_norms");
  EXPECT_TRUE(has(notes, "adapter: 7 of 7 modules matched\n")) << notes;
  EXPECT_TRUE(has(notes, "adapter: model.layers.0.mlp.down_proj: rank 16, |sBA| ")) << notes;
  const Result merge = run("merge --model_name model --adapter adapter --output_dir merged --json");
  ASSERT_EQ(merge.code, 0) << merge.err;
  EXPECT_EQ(Json::parse(merge.out).at("merged"), 7);
  EXPECT_TRUE(has(merge.err, "adapter: 7 of 7 modules matched\nmerged: 7 weights merged\n")) << merge.err;
  const auto merged = embed("merged").first, plain = embed("model").first;
  float moved = 0;
  for (size_t i = 0; i < merged.size(); ++i) {
    EXPECT_NEAR(merged[i], adapted[i], 2e-6);
    moved = std::max(moved, std::abs(plain[i] - adapted[i]));
  }
  EXPECT_GT(moved, 1e-3);

  NamedTensors more = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
  for (const std::string part : {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"})
    more.emplace("base_model.model.model.language_model.layers.5.mlp.up_proj." + part,
                 more.at("base_model.model.model.language_model.layers.0.mlp.up_proj." + part));
  save_safetensors(folder_ / "adapter/adapter_model.safetensors", more);
  const std::string part = "embed --model_name model --input rows.jsonl --output x.npy --adapter adapter";
  const Result refused = run(part);
  EXPECT_EQ(refused.code, 3);
  EXPECT_TRUE(has(refused.err, "7 of 8 modules matched")) << refused.err;
  const auto [part_of_it, said] = embed("model", "--adapter adapter --allow_partial_adapter --quiet");
  EXPECT_EQ(part_of_it, adapted);
  EXPECT_EQ(said,
            "adapter: 7 of 8 modules matched; no layer of this model that target_modules names is "
            "model.layers.5.mlp.up_proj; ignored\n");
  EXPECT_EQ(run("merge --model_name model --adapter adapter --output_dir train").code, 3);
  EXPECT_EQ(run("merge --model_name model --adapter adapter --allow_partial_adapter --output_dir train").code, 2);
  NamedTensors foreign;  // of which no layer is in the model
  for (const auto& [name, tensor] : more) foreign.emplace("base_model.model.decoder." + name.substr(23), tensor);
  save_safetensors(folder_ / "adapter/adapter_model.safetensors", foreign);
  const Result none = run("merge --model_name model --adapter adapter --allow_partial_adapter --output_dir none");
  EXPECT_EQ(none.code, 3);
  EXPECT_TRUE(has(none.err, "0 of 8 modules matched")) << none.err;
  EXPECT_FALSE(has(none.err, "allow_partial")) << none.err;
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(Cli, NamesTheLayersOfAnAdapterAsAsked) {
  make_model();
  const std::string train =
      "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 1 --lora ";
  const auto names = [&](const std::string& options) {
    const Result trained = run(train + options + " --output_dir adapter --overwrite_output_dir True");
    EXPECT_EQ(trained.code, 0) << trained.err;
    EXPECT_FALSE(has(trained.err, "no layer is named")) << "the default names layers of other models, too";
    std::set<std::string> modules;
    for (const auto& [name, tensor] : load_safetensors(folder_ / "adapter/adapter_model.safetensors"))
      modules.insert(name.substr(0, name.find(".lora_")));
    return modules;
  };
  EXPECT_TRUE(names("").contains("base_model.model.model.language_model.layers.0.mlp.up_proj"));
  EXPECT_TRUE(names("--adapter_names official").contains("base_model.model.model.layers.0.mlp.up_proj"));
  const auto all = names("--lora_target_modules all-linear");  // as PEFT: with the image encoder, without the head
  EXPECT_EQ(all.size(), 7u + 4 + 2);
  EXPECT_TRUE(all.contains("base_model.model.model.visual.merger.mlp.2"));
  EXPECT_EQ(Json::parse(read_text(folder_ / "adapter/adapter_config.json")).at("target_modules"), "all-linear");
  const Result vain = run(train + "--lora_target_modules q_proj qkv_proj --output_dir vain");
  EXPECT_TRUE(has(vain.err, "adapter: no layer is named qkv_proj; ignored\n")) << vain.err;
  EXPECT_EQ(run(train + "--lora_target_modules all-linear q_proj --output_dir x").code, 2);
  EXPECT_EQ(run(train + "--adapter_names new --output_dir x").code, 2);
  EXPECT_EQ(run("train --model_name model --dataset_name train --adapter_names official --output_dir x").code, 2);
}

TEST_F(Cli, KeepsTheImagePositionsOfATrainedModel) {
  make_model();
  write("rows.jsonl", "{\"text\": \"<|image_pad|> thing\", \"image\": \"train/p1.png\"}\n");
  const auto embed = [&](const std::string& options, const std::string& output = "x.npy") {
    const Result r = run("embed --input rows.jsonl --output " + output + " --quiet " + options);
    EXPECT_EQ(r.code, 0) << r.err;
    return read_text(folder_ / output);
  };
  EXPECT_EQ(embed("--model_name model --image_positions 1d"), embed("--model_name model"));
  EXPECT_NE(embed("--model_name model --image_positions 3d"), embed("--model_name model"));
  for (const std::string kind : {"", "--lora"}) {
    const std::string folder = kind.empty() ? "full" : "adapter",
                      model = kind.empty() ? "--model_name full" : "--model_name model --adapter adapter";
    const Result trained =
        run("train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 1 "
            "--image_positions 3d --output_dir " +
            folder + " " + kind);
    ASSERT_EQ(trained.code, 0) << trained.err;
    EXPECT_EQ(Json::parse(read_text(folder_ / folder / "preprocessor_config.json")).at("image_positions"), "3d");
    EXPECT_EQ(embed(model), embed(model + " --image_positions 3d"));
    const Result other = run("embed --input rows.jsonl --output y.npy --image_positions 1d " + model);
    EXPECT_EQ(other.code, 2);
    EXPECT_TRUE(has(other.err, "preprocessor_config.json says that the model was trained with 3d")) << other.err;
    Json config = Json::parse(read_text(folder_ / folder / "preprocessor_config.json"));
    config["image_positions"] = "1d";
    write(folder + "/preprocessor_config.json", config.dump());
    const std::string line = embed(model);
    config["image_positions"] = "3d";
    write(folder + "/preprocessor_config.json", config.dump());
    EXPECT_NE(embed(model), line);
  }
  ASSERT_EQ(run("merge --model_name model --adapter adapter --output_dir merged").code, 0);
  EXPECT_EQ(run("embed --input rows.jsonl --output y.npy --image_positions 1d --model_name merged").code, 2);
  // search embeds its query as the index was made
  embed("--model_name model --image_positions 3d", "index.npy");
  const Result found = run("search --index index.npy --text '<|image_pad|> thing' --image train/p1.png --json");
  EXPECT_NEAR(Json::parse(found.out).at("score").get<double>(), 1, 1e-6) << found.err;
  embed("--model_name model", "line.npy");
  const Result other = run("search --index index.npy --queries line.npy");
  EXPECT_EQ(other.code, 3);
  EXPECT_TRUE(has(other.err, "was made with another --image_positions than index.npy")) << other.err;
  Json how = Json::parse(read_text(folder_ / "index.npy.json"));
  EXPECT_EQ(how.at("image_positions"), "3d");
  how.erase("image_positions");  // as written before there was a choice: 1d
  write("index.npy.json", how.dump());
  EXPECT_EQ(run("search --index index.npy --queries line.npy").code, 0);
  embed("--model_name full", "full.npy");
  Json before = Json::parse(read_text(folder_ / "full.npy.json"));
  before.erase("image_positions");  // as written before there was a choice: 1d, which this model was not trained with
  write("full.npy.json", before.dump());
  const Result refused = run("search --index full.npy --text '<|image_pad|> thing' --image train/p1.png --json");
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(has(refused.err, "was trained with 3d")) << refused.err;
  EXPECT_EQ(run("embed --model_name model --input rows.jsonl --output x.npy --image_positions 2d").code, 2);
}

TEST_F(Cli, EmbedBuildsPromptsAndSaysHow) {
  make_model();
  write("stored.jsonl", "{\"text\": \"<|image_1|>\\nName it. thing\\n\", \"image\": \"train/p1.png\"}\n");
  write("parts.jsonl", "{\"instruction\": \"Name it.\", \"text\": \"thing\", \"image\": \"train/p1.png\"}\n");
  const auto embedded = [&](const std::string& options) {
    const Result r = run("embed --model_name model --output e.npy --quiet " + options);
    EXPECT_EQ(r.code, 0) << r.err;
    return read_text(folder_ / "e.npy");
  };
  const std::string stored = embedded("--input stored.jsonl --prompt vlm2vec-v1");
  EXPECT_EQ(embedded("--input parts.jsonl --prompt vlm2vec-v1"), stored);
  EXPECT_NE(embedded("--input parts.jsonl --prompt vlm2vec-v2"), stored);
  EXPECT_EQ(read_json(folder_ / "e.npy.json").at("prompt"), "vlm2vec-v2");
  EXPECT_NE(embedded("--input stored.jsonl --prompt vlm2vec-v1 --precision bf16"), stored);
  EXPECT_EQ(read_json(folder_ / "e.npy.json").at("precision"), "bf16");
  const Result raw = run("embed --model_name model --input parts.jsonl --output f.npy");
  EXPECT_EQ(raw.code, 3);
  EXPECT_TRUE(has(raw.err, "parts.jsonl:1: has an instruction, but the prompt is raw")) << raw.err;
  EXPECT_EQ(run("embed --model_name model --input parts.jsonl --output f.npy --prompt v3").code, 2);
  EXPECT_EQ(run("embed --model_name model --input parts.jsonl --output f.npy --precision f16").code, 2);
}

TEST_F(Cli, ExplainsAndCertifiesEveryStage) {
  make_model();
  const Result table =
      run("explain --model_name model --text '<|image_pad|> Name it.' --image train/p1.png --dump one.safetensors");
  ASSERT_EQ(table.code, 0) << table.err;
  for (const char* stage : {"input_ids", "pixel_values", "vision_merger", "hidden_layer_0", "embedding"})
    EXPECT_TRUE(has(table.out, stage)) << table.out;
  EXPECT_EQ(load_safetensors(folder_ / "one.safetensors").at("embedding").numel(), 16);

  const std::string scored = "explain --model_name model --text '<|image_pad|> Name it.' --image train/p1.png ";
  const Result map = run(scored + "--target 'a cat' --heat_map map.png --json");
  ASSERT_EQ(map.code, 0) << map.err;
  const auto attribution = nlohmann::json::parse(map.out).at("attribution");
  EXPECT_LE(std::abs(attribution.at("score").get<double>()), 1 + 1e-6);
  EXPECT_EQ(attribution.at("pictures").size(), 1u);
  EXPECT_GT(read_rgb(folder_ / "map.png").width, 0);
  const Result words = run(scored + "--target 'a cat'");  // as they are read, not in GPT-2's alphabet
  EXPECT_TRUE(has(words.out, "  \" ") && !has(words.out, "\u0120")) << words.out;
  EXPECT_EQ(run(scored + "--heat_map map.png").code, 2);

  fs::create_directories(folder_ / "reference");
  fs::rename(folder_ / "one.safetensors", folder_ / "reference/one.safetensors");
  fs::copy_file(folder_ / "train/p1.png", folder_ / "reference/p1.png");
  write("reference/cases.json",
        "[{\"name\": \"one\", \"text\": \"<|image_pad|> Name it.\", \"images\": [\"p1.png\"]}]");
  const std::string parity = "parity --model_name model --reference reference ";
  const Result same = run(parity);
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  const auto certificate = read_json(folder_ / "reference/parity.json");
  EXPECT_EQ(certificate.at("ok"), true);
  EXPECT_EQ(certificate.at("maximum_error").at("embedding"), 0);
  EXPECT_EQ(certificate.at("files").at("model.safetensors").get<std::string>().size(), 64u);

  const Result narrow = run(parity + "--precision bf16 --output other.json");
  EXPECT_EQ(narrow.code, 1);
  EXPECT_TRUE(has(narrow.out, "DIVERGES at vision_block_0")) << narrow.out;
  EXPECT_EQ(read_json(folder_ / "other.json").at("cases")[0].at("first_divergence"), "vision_block_0");
}

}  // namespace
}  // namespace vlm2vec
