// Every option of the commands that train, evaluate and embed, and how its effect is seen (option_effects.h).
#include "option_effects_fixture.h"

namespace vlm2vec {
namespace {

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
               {"gc_tokens", "20", one_thread, 0, Seen::in_memory},
               {"gc_keep_tapes",
                "False",
                {{"threads", "1"}, {"gc_q_chunk_size", "1"}, {"gc_p_chunk_size", "1"}},
                0,
                Seen::in_memory},
               {"prompt", "vlm2vec-v2"},
               {"batches",
                "batches.json",
                {{"per_device_train_batch_size", ""},
                 {"dataset_name", ""},
                 {"train_file", "train/Set/original.jsonl"},
                 {"image_dir", "train"}}},
               {"temperature", "0.5"},
               {"learn_temperature", "True"},
               {"bf16_scores", "True"},
               {"deterministic", "False", {}, 2},  // where it has an effect: training_sums_test.cpp
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
               kDevice, kCublas, kTf32,
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
  const auto candidates = [&] {  // the option also stands in the summary, which proves nothing
    for (const int count : {2, 5}) {
      must("eval --model_name model --dataset_name test --encode_output_path few" +
           (count == 5 ? "" : sentence(" --num_candidates ", count)));
      std::istringstream rows(read_text(folder_ / "few/OK-VQA_pred.jsonl"));
      std::string row;
      std::getline(rows, row);
      EXPECT_EQ(Json::parse(row).at("prediction").size(), size_t(count));
      fs::remove_all(folder_ / "few");
    }
  };
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
                    {"num_candidates", "", {}, 0, Seen::output, "", candidates},
                    {"prompt", "vlm2vec-v2"},
                    {"prompt_variants", "variants.json"},
                    // of what fails, batches before are kept
                    {"per_device_eval_batch_size", "1", {{"dataset_name", "damaged"}, {"embedding_cache", "cache"}}, 3},
                    {"embedding_cache", "cache"},
                    {"bad_rows", "skip", {{"dataset_name", "damaged"}}},
                    {"overwrite", "True", {{"encode_output_path", "before"}}},
                    {"beside", "before"},
                    kThreads,
                    kDevice, kCublas, kTf32,
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
                    kDevice, kCublas, kTf32,
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
          {"dim", "3"},
          {"output", "page.html"},
          kThreads,
          kDevice, kCublas, kTf32,
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
                    kDevice, kCublas, kTf32,
                    kJson,
                    {"quiet", "True"}}})});
  check({"parity",
         "",
         {{"model_name", "model"}, {"reference", "reference"}, {"output", "p.json"}},
         together({with_code(1, kAdapter),
                   {kModel[0], kModel[1], kModel[2], {"precision", "bf16", {}, 1}},
                   with_code(3, {kModel.begin() + 4, kModel.end() - 2}),  // other numbers of tokens
                   {{"exif", "True", {}, 1}, {"image_positions", "3d", {}, 1}},
                   {{"reference", "reference2", {}, 1},
                    {"output", "q.json"},
                    kThreads,
                    kDevice, kCublas, kTf32,
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

}  // namespace
}  // namespace vlm2vec
