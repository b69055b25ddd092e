// The program's commands at work: what they write and print.
#include <algorithm>
#include <cstring>

#include "cli_fixture.h"
#include "golden.h"
#include "tensor/tensor_files.h"

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
  EXPECT_TRUE(has(kept.err, "1 of 1 set is finished in scores and kept; --overwrite True")) << kept.err;
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
  EXPECT_TRUE(has(no_token.err,
                  "--prompt STYLE, the one that the model was trained with (vlm2vec-v1, vlm2vec-v2, …), puts it there"))
      << no_token.err;
  const Result model = run(embed + "d.npy --adapter model");
  EXPECT_EQ(model.code, 3);
  EXPECT_TRUE(has(model.err, "this is a whole model")) << model.err;
  write("train/p2.png", "no picture");
  const Result damaged = run(embed + "d.npy");
  EXPECT_EQ(damaged.code, 3);
  EXPECT_TRUE(has(damaged.err, "row 2 of rows.jsonl: train/p2.png: is a text that begins")) << damaged.err;
}

TEST_F(Cli, RotatedPicturesAreCountedAndTurnedOnDemand) {
  NEEDS_GOLDEN("exif")
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
