// The folder in which options show their effects, and the effects that are the same for several commands.
#pragma once
#include <zlib.h>

#include "option_effects.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {

inline const std::vector<Effect> kAdapter = {
    // of commands that apply one
    {"model_name", "other"},
    {"adapter", "adapter"},
    {"use_dora", "False", {{"adapter", "adapter"}}},
    {"allow_partial_adapter", "True", {{"adapter", "partial"}}},
    {"adapter_norms", "True", {{"adapter", "adapter"}, {"quiet", "False"}}, 0, Seen::on_stderr},
};
inline const std::vector<Effect> kModel = {
    {"num_crops", "4", {{"quiet", "False"}}, 0, Seen::on_stderr},  // a note, that pictures are not cut
    {"official_mask", "True", {}, 2},
    {"fusion", "official", {}, 2},
    {"precision", "bf16"},        {"max_len", "3"}, {"image_resolution", "low"}, {"resize_min_pixels", "2048"},
    {"dim", "5"},
    {"resize_max_pixels", "128"}, {"exif", "True"}, {"image_positions", "3d"},
};
inline const Effect kThreads = {"threads", ""}, kDevice = {"device", "cuda", {}, 5},
                    kCublas = {"cublas", "False", {{"device", "cpu"}}, 2},
                    kTf32 = {"tf32", "True", {{"device", "cpu"}}, 2}, kJson = {"json", "True"},
                    kQuiet = {"quiet", "True", {}, 0, Seen::on_stderr};

inline std::vector<Effect> together(std::initializer_list<std::vector<Effect>> lists) {
  std::vector<Effect> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

inline std::vector<Effect> with_code(int code, std::vector<Effect> effects) {
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

}  // namespace vlm2vec
