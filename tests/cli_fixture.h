// The built program as a fixture: runs it in a folder of its own and keeps what it prints.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "temporary_folder.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Result {
  int code;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  // `arguments` as typed in a shell, in the test's folder; `before`: what the shell does first. A GPU is hidden from
  // runs that do not name a device, so that they compute on the CPU everywhere, or from all runs.
  bool hides_gpu_ = false;
  Result run(const std::string& arguments, const std::string& before = "") const {
    const fs::path error_file = folder_ / "stderr";
    const bool hidden = hides_gpu_ || arguments.find("--device") == std::string::npos;
    const std::string gpu = hidden ? "export CUDA_VISIBLE_DEVICES= && " : "";
    const std::string line = "cd '" + folder_.path().string() + "' && " + gpu + before + "'" PROGRAM "' " + arguments +
                             " 2>'" + error_file.string() + "'";
    FILE* pipe = popen(line.c_str(), "r");
    Result result;
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.out.append(buffer, n);
    result.code = WEXITSTATUS(pclose(pipe));
    result.err = read_text(error_file);
    fs::remove(error_file);
    return result;
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  size_t files() const {
    return size_t(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  // Five training rows, three test rows, their pictures, and a tiny model with random weights in ./model.
  void make_model() const {
    fs::create_directories(folder_ / "train/Set");
    fs::create_directories(folder_ / "test/Set");
    std::string train, test;
    for (int i = 0; i < 5; ++i) {
      Image picture(16, 32, 3);
      for (size_t p = 0; p < picture.pixels.size(); ++p) picture.pixels[p] = uint8_t(p * size_t(i + 3));
      const std::string name = "p" + std::to_string(i) + ".png", label = "thing " + std::to_string(i);
      write_png(folder_ / "train" / name, picture);
      write_png(folder_ / "test" / name, picture);
      train +=
          Json{
              {"qry", "<|image_1|>\nName it.\n"}, {"qry_image_path", name}, {"pos_text", label}, {"pos_image_path", ""}}
              .dump() +
          "\n";
      if (i < 3)
        test += Json{{"qry_text", "<|image_1|>\nName it.\n"},
                     {"qry_img_path", name},
                     {"tgt_text", {label, "thing 7"}},
                     {"tgt_img_path", {"", ""}}}
                    .dump() +
                "\n";
    }
    write("train/Set/original.jsonl", train);
    write("test/Set/test.jsonl", test);
    write("test/tasks.json", R"({"datasets": [{"name": "Set", "meta_task": "classification", "split": "IND"}]})");
    write("config.json",
          R"({"model_type": "qwen2_vl", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "vocab_size": 300,
      "image_token_id": 1, "rope_scaling": {"mrope_section": [2, 1, 1]},
      "vision_config": {"depth": 1, "embed_dim": 16, "hidden_size": 16,
      "num_heads": 2, "patch_size": 8}})");
    const Result init =
        run("init --config config.json --train_tokenizer train --min_pixels 64 --max_pixels 4096 --output_dir model "
            "--quiet");
    ASSERT_EQ(init.code, 0) << init.err;
  }

  const TemporaryFolder folder_{"cli"};
};

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace vlm2vec
