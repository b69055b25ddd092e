// Every option of every command, and how its effect is seen (option_effects.h).
#include <zlib.h>

#include "option_effects.h"
#include "tensor/io/safetensors.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

const std::vector<Effect> kAdapter = {
    // of commands that apply one
    {"model_name", "other"},
    {"adapter", "adapter"},
    {"use_dora", "False", {{"adapter", "adapter"}}},
    {"allow_partial_adapter", "True", {{"adapter", "partial"}}},
    {"adapter_norms", "True", {{"adapter", "adapter"}, {"quiet", "False"}}, 0, Seen::on_stderr},
};
const std::vector<Effect> kModel = {
    {"precision", "bf16"},        {"max_len", "3"}, {"image_resolution", "low"}, {"resize_min_pixels", "2048"},
    {"resize_max_pixels", "128"}, {"exif", "True"}, {"image_positions", "3d"},
};
const Effect kThreads = {"threads", ""}, kDevice = {"device", "cuda", {}, 5}, kJson = {"json", "True"},
             kQuiet = {"quiet", "True", {}, 0, Seen::on_stderr};

std::vector<Effect> together(std::initializer_list<std::vector<Effect>> lists) {
  std::vector<Effect> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<Effect> with_code(int code, std::vector<Effect> effects) {
  for (Effect& effect : effects) effect.code = code;
  return effects;
}

class Effects : public OptionEffects {
 protected:
  void SetUp() override {
    make_model();
    must("init --config config.json --tokenizer model --min_pixels 64 --max_pixels 4096 --seed 7 --output_dir other");
    must(
        "train --model_name model --dataset_name train --per_device_train_batch_size 4 --max_steps 3 "
        "--learning_rate 0.1 --lr_scheduler_type constant --lora --output_dir adapter");
    fs::create_directory(folder_ / "partial");
    NamedTensors tensors = load_safetensors(folder_ / "adapter/adapter_model.safetensors");
    for (const std::string part : {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"})
      tensors.emplace("base_model.model.model.language_model.layers.5.mlp.up_proj." + part,
                      tensors.at("base_model.model.model.language_model.layers.0.mlp.up_proj." + part));
    save_safetensors(folder_ / "partial/adapter_model.safetensors", tensors);
    fs::copy_file(folder_ / "adapter/adapter_config.json", folder_ / "partial/adapter_config.json");
    // Every picture is stored rotated.
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
      if (entry.path().extension() == ".png") write_text(entry.path(), rotated(read_text(entry.path())));
    std::string deeper = read_text(folder_ / "config.json");
    deeper.replace(deeper.find("layers\": 1"), 10, "layers\": 9");
    write("deeper.json", deeper);
    // Rows with equal targets and negatives, a second split, other pictures of the same names.
    std::string rows;
    for (const char* word : {"one", "one", "two", "three"})
      rows += sentence(R"({"qry": "Count.", "qry_image_path": "", "pos_text": ")", word,
                       R"(", "pos_image_path": "", "neg_text": "no)", word, R"(", "neg_image_path": ""})", "\n");
    write("train/Other/original.jsonl", rows);
    write("train/Set/diverse_instruction.jsonl", read_text(folder_ / "train/Set/original.jsonl").substr(0, 400) + "\n");
    std::string lines = read_text(folder_ / "train/Set/original.jsonl");
    for (size_t at = 0; (at = lines.find("Name it", at)) != std::string::npos;) lines.replace(at, 7, "Tell me");
    write("train/Set/diverse_instruction.jsonl", lines);
    std::string many;
    for (int i = 0; i < 3; ++i)
      many += sentence(R"({"qry_text": "<|image_1|>\nName it.\n", "qry_img_path": "p)", i, R"(.png", "tgt_text": ["a )",
                       i, R"(", "b", "c", "d", "e"], "tgt_img_path": ["", "", "", "", ""]})", "\n");
    write("test/OK-VQA/test.jsonl", many);
    write("test/tasks.json", R"({"datasets": [{"name": "Set", "meta_task": "classification", "split": "IND"}]})");
    fs::create_directories(folder_ / "based");
    for (const char* folder : {"train", "test"}) {
      fs::copy(folder_ / folder, folder_ / "based" / folder, fs::copy_options::recursive);
      for (int i = 0; i < 5; ++i) {
        Image picture(24, 24, 3);
        for (size_t p = 0; p < picture.pixels.size(); ++p) picture.pixels[p] = uint8_t(p * size_t(i + 11) / 7);
        write_png(folder_ / "based" / folder / sentence("p", i, ".png"), picture);
      }
    }
    write("rows.jsonl", R"({"text": "<|image_pad|> thing", "image": "train/p1.png"})"
                        "\n"
                        R"({"text": "two"})"
                        "\n");
    write("two.jsonl", R"({"text": "two"})"
                       "\n");
    write("parts.jsonl", R"({"instruction": "Name it.", "text": "thing", "image": "train/p1.png"})"
                         "\n");
    keep_files();
  }
  // The table of a selftest and the JSON of another: the same checks, and the measured values of some differ.
  static void expect_other_numbers(const std::string& table, const Json& json) {
    std::istringstream lines(table);
    std::string line;
    std::getline(lines, line);  // the heading
    int different = 0;
    for (const Json& check : json.at("checks")) {
      ASSERT_TRUE(std::getline(lines, line) && line.starts_with(check.at("check").get<std::string>())) << line;
      const double measured = std::stod(line.substr(52));
      different += std::abs(measured - check.at("measured").get<double>()) > 0.01 * measured;
    }
    EXPECT_GT(different, 5);
  }
  // With EXIF's orientation 6, a quarter turn.
  static std::string rotated(const std::string& png) {
    std::string chunk("eXIfMM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 30);
    const uint32_t sum = uint32_t(crc32(0, reinterpret_cast<const uint8_t*>(chunk.data()), uInt(chunk.size())));
    for (int i = 0; i < 4; ++i) chunk += char(sum >> (24 - 8 * i));
    return png.substr(0, 33) + std::string("\0\0\0\x1A", 4) + chunk + png.substr(33);  // behind the header
  }
  void must(const std::string& line) const {
    const Result r = run(line + " --quiet");
    ASSERT_EQ(r.code, 0) << line << ": " << r.err;
  }
};

TEST_F(Effects, OfTrain) {
  write("train.yaml",
        "One:\n  dataset_parser: mmeb\n  dataset_name: train\n  subset_name: Set\n  dataset_split: "
        "original\n  image_dir: train\n");
  write("batches.json", "[[0, 1], [2, 3, 4]]");
  must("init --config deeper.json --tokenizer model --min_pixels 64 --max_pixels 4096 --output_dir deep");
  fs::copy(folder_ / "train", folder_ / "damaged", fs::copy_options::recursive);
  write("damaged/p2.png", "no picture");
  must(
      "train --model_name model --dataset_name train --output_dir finished --max_steps 2 --save_steps 1 "
      "--per_device_train_batch_size 4 --learning_rate 1e-2");
  keep_files();
  const std::string after_a_run = "cp -r finished out && ", after_a_stop = after_a_run + "rm out/model.safetensors && ";
  const Options every_step = {{"save_steps", "1"}};
  const Options lora = {{"lora", "True"}}, interleaved = {{"sampling", "interleaved"}},
                board = {{"report_to", "tensorboard"}}, one_thread = {{"threads", "1"}};
  check({"train",
         "",
         {{"model_name", "model"},
          {"dataset_name", "train"},
          {"output_dir", "out"},
          {"max_steps", "2"},
          {"per_device_train_batch_size", "4"},
          {"learning_rate", "1e-2"},
          {"quiet", "True"}},
         together(
             {kModel,
              {{"model_name", "other"},
               {"adapter", "adapter", lora},
               {"use_dora", "False", lora},
               {"allow_partial_adapter", "True", {{"lora", "True"}, {"adapter", "partial"}}},
               {"adapter_norms",
                "True",
                {{"lora", "True"}, {"adapter", "adapter"}, {"quiet", "False"}},
                0,
                Seen::on_stderr},
               {"dataset_name", "based/train"},
               {"subset_name", "Set"},
               {"dataset_split", "diverse_instruction", {{"subset_name", "Set"}}},
               {"num_sample_per_subset", "2"},
               {"dataset_config", "train.yaml", {{"dataset_name", ""}}},
               {"data_basedir", "based", {{"dataset_name", ""}, {"dataset_config", "train.yaml"}}},
               {"train_file", "train/Set/original.jsonl --image_dir train", {{"dataset_name", ""}}},
               {"image_dir", "based/train"},
               {"missing_sets", "skip", {{"subset_name", "Set Absent"}}},
               {"sampling", "interleaved"},
               {"interleave_stopping_strategy", "first_exhausted", {{"sampling", "interleaved"}, {"max_steps", "6"}}},
               {"homogeneous_batch_size_per_device", "2", interleaved},
               {"num_hardneg", "1", {{"subset_name", "Other"}}},
               {"mask_duplicates", "True", {{"subset_name", "Other"}}},
               {"output_dir", "elsewhere"},
               {"max_steps", "3"},
               {"num_train_epochs", "2", {{"num_train_epochs", "1"}, {"max_steps", ""}}},
               {"per_device_train_batch_size", "3"},
               {"gradient_accumulation_steps", "2"},
               {"gc_q_chunk_size", "2", one_thread, 0, Seen::in_memory},
               {"gc_p_chunk_size", "2", one_thread, 0, Seen::in_memory},
               {"batches",
                "batches.json",
                {{"per_device_train_batch_size", ""},
                 {"dataset_name", ""},
                 {"train_file", "train/Set/original.jsonl"},
                 {"image_dir", "train"}}},
               {"temperature", "0.5"},
               {"learning_rate", "0.1"},
               {"lr_scheduler_type", "constant"},
               {"warmup_steps", "1"},
               {"warmup_ratio", "0.5"},
               {"weight_decay", "0.1"},
               {"adam_beta1", "0.5"},
               {"adam_beta2", "0.9"},
               {"adam_epsilon", "0.1"},
               {"max_grad_norm", "0.01"},
               {"lora", "True"},
               {"lora_r", "4", lora},
               {"lora_alpha", "8", lora},
               {"lora_dropout", "0.5", lora},
               {"lora_target_modules", "q_proj", lora},
               {"adapter_names", "official", lora},
               {"gradient_checkpointing", "True", {{"model_name", "deep"}, {"threads", "1"}}, 0, Seen::in_memory},
               {"image_encoder_freeze", "True"},
               {"freeze", "visual"},
               {"bad_rows",
                "skip",
                {{"dataset_name", "damaged"}, {"max_steps", "4"}, {"per_device_train_batch_size", "3"}}},
               {"overwrite_output_dir", "True", every_step, 0, Seen::output, after_a_run},
               {"plan", "True"},
               {"save_strategy", "no", {{"save_steps", "1"}}},
               {"save_minutes", "0", {{"plan", "True"}}},
               {"save_steps", "1"},
               {"save_total_limit", "1", {{"save_steps", "1"}, {"max_steps", "4"}}},
               {"logging_steps", "2"},
               {"report_to", "tensorboard"},
               {"logging_dir", "board", board},
               {"run_name", "mine", board},
               {"resume_from", "1", every_step, 0, Seen::output, after_a_stop},
               {"seed", "7"},
               kThreads,
               kDevice,
               kJson,
               {"quiet", "True", {{"quiet", ""}}, 0, Seen::on_stderr}}})});
}

TEST_F(Effects, OfEval) {
  write("eval.yaml",
        "OK-VQA:\n  dataset_parser: image_cls\n  dataset_name: test/OK-VQA\n  dataset_split: test\n"
        "  image_root: test\n  eval_type: local\n");
  write("captions.jsonl", R"({"filename": "p1.png", "caption": ["one"]})"
                          "\n"
                          R"({"filename": "p2.png", "caption": ["two"]})"
                          "\n");
  write("variants.json", R"({"Set": ["Say what it is."]})");
  must("eval --model_name other --dataset_name test --encode_output_path before");
  fs::copy(folder_ / "test", folder_ / "damaged", fs::copy_options::recursive);
  write("damaged/p2.png", "no picture");
  keep_files();
  check({"eval",
         "",
         {{"model_name", "model"}, {"dataset_name", "test"}, {"encode_output_path", "out"}},
         together({kAdapter,
                   kModel,
                   {{"dataset_name", "based/test"},
                    {"subset_name", "Set"},
                    {"dataset_config", "eval.yaml", {{"dataset_name", ""}}},
                    {"data_basedir", "based", {{"dataset_name", ""}, {"dataset_config", "eval.yaml"}}},
                    {"retrieval_file", "captions.jsonl --image_dir test", {{"dataset_name", ""}}},
                    {"image_dir", "based/test"},
                    {"missing_sets", "skip", {{"subset_name", "Set Absent"}}},
                    {"encode_output_path", "elsewhere"},
                    {"save_embeddings", "False"},
                    {"num_candidates", "3"},
                    {"prompt_variants", "variants.json"},
                    // of what fails, batches before are kept
                    {"per_device_eval_batch_size", "1", {{"dataset_name", "damaged"}, {"embedding_cache", "cache"}}, 3},
                    {"embedding_cache", "cache"},
                    {"bad_rows", "skip", {{"dataset_name", "damaged"}}},
                    {"overwrite", "True", {{"encode_output_path", "before"}}},
                    {"beside", "before"},
                    kThreads,
                    kDevice,
                    kJson,
                    kQuiet}})});
}

TEST_F(Effects, OfEmbedSearchExplainParityMerge) {
  must("embed --model_name model --input rows.jsonl --output rows.npy");
  must("embed --model_name other --input rows.jsonl --output other.npy");
  must("embed --model_name model --adapter adapter --input rows.jsonl --output adapted.npy");
  fs::create_directory(folder_ / "reference");
  must("explain --model_name model --text '<|image_pad|> two' --image train/p1.png --dump reference/one.safetensors");
  write("damaged.png", "no picture");
  write("damaged.jsonl", R"({"text": "two"})"
                         "\n"
                         R"({"text": "<|image_pad|>", "image": "damaged.png"})"
                         "\n");
  write("reference/cases.json", R"([{"name": "one", "text": "<|image_pad|> two", "images": ["../train/p1.png"]}])");
  fs::copy(folder_ / "reference", folder_ / "reference2");
  write("reference2/cases.json", R"([{"name": "one", "text": "<|image_pad|> too", "images": ["../train/p1.png"]}])");
  fs::create_directories(folder_ / "train2/train");
  fs::copy_file(folder_ / "train/p2.png", folder_ / "train2/train/p1.png");
  keep_files();
  check({"embed",
         "",
         {{"model_name", "model"}, {"input", "rows.jsonl"}, {"output", "e.npy"}},
         together({kAdapter,
                   kModel,
                   {{"input", "two.jsonl"},
                    {"prompt", "vlm2vec-v2", {{"input", "parts.jsonl"}}},
                    {"image_dir", "train2"},
                    {"output", "f.npy"},
                    // of what fails, batches before are kept
                    {"batch_size", "1", {{"input", "damaged.jsonl"}, {"embedding_cache", "cache"}}, 3},
                    {"bad_rows", "skip", {{"input", "damaged.jsonl"}}},
                    {"embedding_cache", "cache"},
                    kThreads,
                    kDevice,
                    kJson,
                    kQuiet}})});
  const Options from_file = {{"text", ""}, {"input", "rows.jsonl"}};
  check({"search",
         "",
         {{"index", "rows.npy"}, {"text", "two"}},
         {{"index", "other.npy"},
          {"text", "three"},
          {"image", "train/p2.png", {{"text", "'<|image_pad|>'"}}},
          {"instruction", "Find", {{"prompt", "vlm2vec-v2"}}},
          {"prompt", "vlm2vec-v1 --instruction Find"},
          {"input", "rows.jsonl", {{"text", ""}}},
          {"image_dir", "train2", from_file},
          {"queries", "rows.npy", {{"text", ""}}},
          {"model_name", "other", {}, 3},
          {"adapter", "partial", {{"index", "adapted.npy"}}, 3},
          {"top", "1"},
          {"output", "page.html"},
          kThreads,
          kDevice,
          kJson,
          {"quiet", "True"}}});
  const Options target = {{"target", "'<|image_pad|> cat'"}, {"target_image", "train/p2.png"}};
  check({"explain",
         "",
         {{"model_name", "model"}, {"text", "'<|image_pad|> thing'"}, {"image", "train/p1.png"}},
         together({kAdapter,
                   kModel,
                   {{"text", "'<|image_pad|> two'"},
                    {"image", "train/p2.png"},
                    {"instruction", "Name", {{"prompt", "vlm2vec-v2"}, {"text", "thing"}}},
                    {"prompt", "vlm2vec-v2", {{"text", "thing"}}},
                    {"dump", "d.safetensors"},
                    {"target", "cat"},
                    {"target_image", "train/p3.png", target},
                    {"heat_map", "map.png", target},
                    kThreads,
                    kDevice,
                    kJson,
                    {"quiet", "True"}}})});
  check({"parity",
         "",
         {{"model_name", "model"}, {"reference", "reference"}, {"output", "p.json"}},
         together({with_code(1, kAdapter),
                   {{"precision", "bf16", {}, 1}},
                   with_code(3, {kModel.begin() + 1, kModel.end() - 2}),  // other numbers of tokens
                   {{"exif", "True", {}, 1}, {"image_positions", "3d", {}, 1}},
                   {{"reference", "reference2", {}, 1},
                    {"output", "q.json"},
                    kThreads,
                    kDevice,
                    kJson,
                    {"quiet", "True"}}})});  // diverges: exit 1
  check({"merge",
         "",
         {{"model_name", "model"}, {"adapter", "adapter"}, {"output_dir", "out"}},
         {{"model_name", "other"},
          {"adapter", "partial", {}, 3},
          {"use_dora", "False"},
          {"allow_partial_adapter", "True", {{"adapter", "partial"}}},
          {"adapter_norms", "True", {}, 0, Seen::on_stderr},
          {"sentence_transformers", "True"},
          {"output_dir", "out2"},
          kThreads,
          kJson,
          kQuiet}});
}

TEST_F(Effects, OfSmallCommands) {
  write("halves.png", "P4 8 1 \x0F");  // flawed: the name promises another format
  const std::string pictures = std::string(SOURCE_DIR) + "/tests/golden/mmeb/types/pictures_none.parquet";
  for (const auto& [folder, light] : {std::pair("a", 10), {"b", 9}}) {  // a picture, and the same a bit darker
    const fs::path set = folder_ / "near" / folder;
    Random random(1);
    Image coarse(6, 6, 3);
    for (uint8_t& p : coarse.pixels) p = uint8_t(random.below(256));
    Image picture = resize(coarse, {96, 96}, Filter::bicubic);
    for (uint8_t& p : picture.pixels) p = uint8_t(p * light / 10);
    fs::create_directories(set);
    write_png(set / "one.png", resize(picture, {7 * light, 80}, Filter::bilinear));
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
          kThreads,
          {"quiet", "", {}, 0, Seen::output, "", [&] { EXPECT_TRUE(other.err.empty() && !plain.err.empty()); }},
          {"json", "", {}, 0, Seen::output, "", [&] { EXPECT_FALSE(Json::accept(plain.out)); }}}});
  check({"report", "a", {{"output", "r.html"}}, {{"output", "s.html"}, kThreads, kJson}});
  check({"doctor", "", {}, {kThreads, kJson}});
  check({"completion", "bash", {}, {}});
  check({"version", "", {}, {kJson}});
}

TEST_F(Effects, OfDataMini) {
  if (!fs::exists("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")) GTEST_SKIP() << "needs fonts-noto-color-emoji";
  check({"data mini",
         "",
         {{"output_dir", "out"}, {"train_rows", "1"}, {"test_rows", "1"}},
         {{"output_dir", "out2"}, {"train_rows", "2"}, {"test_rows", "2"}, {"seed", "7"}, kThreads, kQuiet, kJson}});
}

}  // namespace
}  // namespace vlm2vec
