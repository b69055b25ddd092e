// A tiny model with rows to train it on, and the files of its runs.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "io/files.h"
#include "lines_of_json.h"
#include "mmeb/training/trainer.h"
#include "tiny_model.h"

namespace vlm2vec {

using nlohmann::json;
namespace fs = std::filesystem;

// Two sets of n pairs as MMEB stores them.
inline void write_rows(const fs::path& folder, int n = 12) {
  fs::create_directories(folder / "images");
  for (const char* set : {"A", "B"}) {
    std::string rows;
    for (int i = 0; i < n; ++i) {
      const std::string picture = std::string("images/") + set + std::to_string(i) + ".png";
      write_png(folder / picture, plain_image(16, 16, uint8_t(20 * i + (*set == 'A' ? 0 : 10))));
      rows += json{{"qry", "<|image_1|>\nwhat is this?\n"},
                   {"qry_image_path", picture},
                   {"pos_text", std::string(set) + " thing " + std::to_string(i)},
                   {"pos_image_path", ""}}
                  .dump() +
              "\n";
    }
    fs::create_directories(folder / set);
    write_text(folder / set / "original.jsonl", rows);
  }
}

class Trainer : public testing::Test {
 protected:
  Trainer() : folder_("trainer") {
    write_tiny_model(folder_.path() / "model");
    write_rows(folder_.path() / "data");
  }
  TrainOptions options(const std::string& output) {
    TrainOptions o;
    o.model_name = folder_.path() / "model", o.dataset_name = folder_.path() / "data",
    o.output_dir = folder_.path() / output;
    o.max_steps = 12, o.per_device_train_batch_size = 6, o.temperature = 0.1, o.learning_rate = 5e-3,
    o.warmup_steps = 2;
    return o;
  }
  TrainOptions lora(const std::string& output) {
    TrainOptions o = options(output);
    o.lora = true, o.use_dora = false, o.lora_dropout = 0.2, o.gc_q_chunk_size = 2, o.gc_p_chunk_size = 3;
    return o;
  }
  TrainOptions dora(const std::string& output) {
    TrainOptions o = lora(output);
    o.use_dora = true;
    return o;
  }
  std::string file(const std::string& path) { return read_text(folder_.path() / path); }
  std::vector<json> log(const std::string& run) { return lines_of_json(folder_ / run / "log.jsonl"); }
  TemporaryFolder folder_;
};

}  // namespace vlm2vec
