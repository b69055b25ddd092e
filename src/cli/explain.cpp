#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/model.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"
#include "vlm/prompt.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments(const Tensor& x) {
  Moments m;
  const auto values = to_vector<double>(x);
  for (const double v : values) m.mean += v / double(values.size());
  for (const double v : values) m.deviation += (v - m.mean) * (v - m.mean) / double(values.size());
  m.deviation = std::sqrt(m.deviation);
  return m;
}

void print_table(const std::string& prompt, const std::vector<Stage>& stages) {
  std::printf("prompt %s\n%-18s %-18s %12s %12s\n", nlohmann::json(prompt).dump().c_str(), "stage", "shape", "mean",
              "deviation");
  for (const Stage& stage : stages) {
    const Moments m = moments(stage.value);
    std::printf("%-18s %-18s %12.5g %12.5g\n", stage.name.c_str(), sentence(stage.value).c_str(), m.mean, m.deviation);
  }
}

void print_json(const std::string& prompt, const std::vector<Stage>& stages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Stage& stage : stages) {
    const Moments m = moments(stage.value);
    list.push_back({{"stage", stage.name},
                    {"shape", stage.value.shape()},
                    {"dtype", name_of(stage.value.dtype())},
                    {"mean", m.mean},
                    {"deviation", m.deviation}});
  }
  std::cout << nlohmann::ordered_json{{"prompt", prompt}, {"stages", list}} << '\n';
}

}  // namespace

Exit run_explain(const Command& command, const Arguments& arguments) {
  ModelOptions model;
  std::string text, instruction, prompt = "raw", dump;
  std::vector<std::string> images;
  Device device;
  bool quiet = false, json = false;
  CommandLine line(
      command.name, command.purpose,
      "explain --model_name runs/demo/model --prompt vlm2vec-v2 --instruction \"Name the object.\" --image "
      "runs/demo/data/MMEB-eval/images/EmojiNet/0.png");
  model.fields(line);
  line("text", text, "the text of the input");
  line("image", images, "its pictures");
  line("instruction", instruction, "what to do with it (not in a raw prompt)");
  line("prompt", prompt, "raw: the text is the prompt; vlm2vec-v1, vlm2vec-v2: built as the official code does");
  line("dump", dump, "safetensors file to write: every stage in full, f32 or i64");
  line.require({"model_name"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (text.empty() && instruction.empty() && images.empty())
    fail(Exit::usage, "explain: --text, --image and --instruction are all missing; what should be explained?");
  if (!dump.empty()) check_output_file(dump, "");
  const auto encoder = load_model(model, device, quiet);
  if (prompt == "raw" && !images.empty() && text.find(encoder->image_token()) == std::string::npos)
    fail(Exit::usage, "explain: a raw --text needs ", encoder->image_token(),
         " where its picture belongs; --prompt vlm2vec-v2 puts it there");
  EncoderInput input{build_prompt(prompt, {instruction, text, images.size()}, encoder->image_token()), {}};
  input.images.assign(images.begin(), images.end());
  input.row = "explain";
  const std::vector<Stage> stages = stages_of(*encoder, input);
  if (!dump.empty()) {
    NamedTensors named;
    for (const Stage& stage : stages) named.emplace(stage.name, stage.value);
    save_safetensors(dump, named, {{"precision", model.precision}, {"prompt", input.text}});
  }
  if (json) print_json(input.text, stages);
  else if (!quiet) print_table(input.text, stages);
  return Exit::ok;
}

}  // namespace vlm2vec
