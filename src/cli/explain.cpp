#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "cli/commands.h"
#include "io/text.h"
#include "mmeb/data/outputs.h"
#include "tensor/tensor_files.h"
#include "vlm/model.h"
#include "vlm/prompt.h"
#include "vlm/stages.h"
#include "vlm/tokenizer/pretokenizer.h"

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

// 1.9 G, 812 k, 40
std::string short_number(double x) {
  const char* unit = x >= 1e12 ? " T" : x >= 1e9 ? " G" : x >= 1e6 ? " M" : x >= 1e3 ? " k" : "";
  x /= x >= 1e12 ? 1e12 : x >= 1e9 ? 1e9 : x >= 1e6 ? 1e6 : x >= 1e3 ? 1e3 : 1;
  return formatted(*unit && x < 10 ? "%.1f%s" : "%.0f%s", x, unit);
}

void print_table(const std::string& prompt, const std::vector<Stage>& stages) {
  std::printf("prompt %s\n\n%-18s %-17s %9s %9s %10s %9s %10s\n", nlohmann::json(prompt).dump().c_str(), "stage",
              "shape", "mean", "deviation", "parameters", "FLOPs", "time");
  double parameters = 0, flops = 0, seconds = 0;
  std::string told;
  for (const Stage& stage : stages) {
    const StageNote& note = stage.note;
    const std::string what = note.text == told ? "" : note.text;
    if (!what.empty()) std::printf("\n  %s\n", what.c_str());
    told = note.text;
    const Moments m = moments(stage.value);
    std::printf("%-18s %-17s %9.3g %9.3g %10s %9s %7.2f ms\n", stage.name.c_str(), sentence(stage.value).c_str(),
                m.mean, m.deviation, note.parameters ? short_number(double(note.parameters)).c_str() : "",
                note.flops > 0 ? short_number(note.flops).c_str() : "", stage.seconds * 1e3);
    parameters += double(note.parameters), flops += note.flops, seconds += stage.seconds;
  }
  std::printf("%-56s %10s %9s %7.2f ms\n", "in all", short_number(parameters).c_str(), short_number(flops).c_str(),
              seconds * 1e3);
}

nlohmann::ordered_json to_json(const std::vector<Stage>& stages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Stage& stage : stages) {
    const Moments m = moments(stage.value);
    list.push_back({{"stage", stage.name},
                    {"shape", stage.value.shape()},
                    {"dtype", name_of(stage.value.dtype())},
                    {"mean", m.mean},
                    {"deviation", m.deviation},
                    {"parameters", stage.note.parameters},
                    {"flops", stage.note.flops},
                    {"seconds", stage.seconds}});
  }
  return list;
}

// Returns a token in plain bytes: " the" for "Ġthe" of a byte-level vocabulary, or for "▁the" of another.
std::string readable(const Tokenizer& tokenizer, const std::string& piece) {
  static const std::map<std::string, char> bytes = [] {
    std::map<std::string, char> all;
    for (size_t byte = 0; byte < 256; ++byte) all[byte_alphabet()[byte]] = char(byte);
    return all;
  }();
  const bool byte_level = tokenizer.id_of(byte_alphabet()[' ']).has_value();
  std::string text;
  for (size_t begin = 0, end; begin < piece.size(); begin = end) {
    for (end = begin + 1; end < piece.size() && (piece[end] & 0xC0) == 0x80;) ++end;
    const std::string letter = piece.substr(begin, end - begin);
    const auto byte = byte_level ? bytes.find(letter) : bytes.end();
    text += byte != bytes.end() ? std::string(1, byte->second) : letter == "▁" && !byte_level ? " " : letter;
  }
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

float sum(const std::vector<float>& shares) { return std::accumulate(shares.begin(), shares.end(), 0.0f); }

void print_attribution(const Attribution& a, const Tokenizer& tokenizer) {
  std::printf("\nScore %.4f. Baseline (%s for each word%s): %.4f. Contribution of each part to the difference:\n",
              a.score, readable(tokenizer, a.blank).c_str(), a.pictures.empty() ? "" : ", plain pictures", a.nothing);
  for (const auto& [piece, share] : a.words) std::printf("%+9.4f  %s\n", share, readable(tokenizer, piece).c_str());
  for (size_t i = 0; i < a.pictures.size(); ++i)
    std::printf("%+9.4f  picture %zu, %dx%d patches\n", sum(a.pictures[i].shares), i + 1, a.pictures[i].rows,
                a.pictures[i].columns);
}

nlohmann::ordered_json to_json(const Attribution& a) {
  nlohmann::ordered_json words = nlohmann::ordered_json::array(), pictures = nlohmann::ordered_json::array();
  for (const auto& [piece, share] : a.words) words.push_back({{"piece", piece}, {"share", share}});
  for (const PictureAttribution& p : a.pictures)
    pictures.push_back({{"rows", p.rows}, {"columns", p.columns}, {"shares", p.shares}});
  return {{"score", a.score}, {"score_of_nothing", a.nothing}, {"words", words}, {"pictures", pictures}};
}

// A dump begins with its metadata, which begins with the precision.
constexpr FileKind kDump = {"a dump", R"({"__metadata__":{"precision":)"};

// map.png, and map-2.png, … for further pictures.
std::filesystem::path numbered(const std::filesystem::path& file, size_t i) {
  if (i == 0) return file;
  return file.parent_path() / sentence(file.stem().string(), "-", i + 1, file.extension().string());
}

struct ExplainOptions {
  ModelOptions model;
  std::string text, instruction, prompt = "raw", dump, target, map;
  std::vector<std::string> images, target_images;
  Device device;
  bool quiet = false, json = false;

  bool compares() const { return !target.empty() || !target_images.empty(); }
};

void declare(CommandLine& line, ExplainOptions& o) {
  o.model.fields(line);
  line.section("Input and output");
  line("text", o.text, "text of the input");
  line("image", o.images, "<FILE> pictures of the input");
  line("instruction", o.instruction, "instruction to the model (not in a raw prompt)");
  line("prompt", o.prompt, prompt_help());
  line("dump", o.dump, "<FILE> safetensors file to write: every stage in full, f32 or i64");
  line("target", o.target, "text of a second input: prints the score of both, and the share of each part of the first");
  line("target_image", o.target_images, "<FILE> pictures of the second input");
  line("heat_map", o.map, "<FILE> PNG to write: the picture, red where it raises the score, blue where it lowers it");
  line.require({"model_name"});
  line.collect({"image", "target_image"});
  line.threads().device(o.device).quiet(o.quiet).json(o.json);
}

void check_options(const ExplainOptions& o) {
  if (o.text.empty() && o.instruction.empty() && o.images.empty())
    fail(Exit::usage, "explain: --text, --image and --instruction are all missing; give one of them");
  const std::vector<PromptStyle> styles = all_prompt_styles();
  if (!o.instruction.empty() && prompt_style(styles, o.prompt).instructed == Instructed::none)
    fail(Exit::usage, "explain: the prompt ", o.prompt, " has no --instruction; put it into --text",
         o.prompt == "raw" ? sentence(", or use ", kBuiltPrompt) : "");
  if (!o.map.empty() && (!o.compares() || o.images.empty()))
    fail(Exit::usage, "explain: --heat_map shows the parts of an --image in its score with a --target; give both");
  if (!o.map.empty() && std::filesystem::path(o.map).extension() != ".png")
    fail(Exit::usage, "explain: --heat_map: got \"", o.map, "\", expected a name that ends in .png");
  if (!o.dump.empty()) check_output_file(o.dump, kDump);
  for (size_t i = 0; !o.map.empty() && i < o.images.size(); ++i)
    check_output_file(numbered(o.map, i), kPngFile, {o.images.begin(), o.images.end()});
}

}  // namespace

Exit run_explain(const Command& command, const Arguments& arguments) {
  ExplainOptions o;
  CommandLine line(
      command.name, command.purpose,
      "explain --model_name runs/demo/model --prompt vlm2vec-v1 --instruction \"Name the object.\" --image "
      "runs/demo/data/MMEB-eval/images/EmojiNet/000000.png --target scarf --heat_map map.png");
  declare(line, o);
  if (!line.parse(arguments)) return Exit::ok;
  check_options(o);

  const auto encoder = load_model(o.model, o.device, o.quiet);
  const auto input_of = [&](const PromptParts& parts, const std::vector<std::string>& pictures, const char* name,
                            const char* row) {
    if (o.prompt == "raw" && !pictures.empty() && parts.text.find(encoder->image_token()) == std::string::npos)
      fail(Exit::usage, "explain: a raw ", name, " needs ", encoder->image_token(),
           " where its picture belongs; ", kBuiltPrompt, ", puts it there");
    const PromptStyle& style = prompt_style(encoder->family, o.prompt);
    const Prompt built = style.build(parts, encoder->image_token());
    EncoderInput input{built.text, {}, 0, row, style.route, style.uncounted};
    for (const size_t picture : built.pictures) input.images.push_back(PictureSource::of_text(pictures[picture]));
    return input;
  };
  const EncoderInput input = input_of({o.instruction, o.text, o.images.size()}, o.images, "--text", "the input");
  std::optional<Attribution> attribution;
  CutTexts target_cut;
  if (o.compares()) {
    const EncoderInput second =
        input_of({"", o.target, o.target_images.size()}, o.target_images, "--target", "the target");
    const Embedded embedded = embed_rows(*encoder, {&second, 1}, 1);
    attribution = attribute(*encoder, input, embedded.vectors);
    target_cut.add({&second, 1}, embedded.cut);
  }
  const auto [stages, is_cut] = stages_of(*encoder, input);
  CutTexts cut;
  cut.add(input, is_cut);
  cut.add(target_cut);
  line.say(encoder->processor.picture_note());
  line.say(cut.note(o.model.max_len));
  if (!o.dump.empty()) {
    NamedTensors named;
    for (const Stage& stage : stages) named.emplace(stage.name, stage.value);
    save_safetensors(o.dump, named, {{"precision", o.model.precision}, {"prompt", input.text}});
  }
  if (!o.map.empty())
    for (size_t i = 0; i < o.images.size(); ++i) write_png(numbered(o.map, i), heat_map(attribution->pictures[i]));
  if (o.json) {
    nlohmann::ordered_json all{
        {"prompt", input.text}, {"device", origin_of(o.device)}, {"cut", is_cut}, {"stages", to_json(stages)}};
    if (attribution) all["attribution"] = to_json(*attribution);
    std::cout << all << '\n';
  } else if (!o.quiet) {
    print_table(input.text, stages);
    if (attribution) print_attribution(*attribution, encoder->processor.tokenizer());
  }
  return Exit::ok;
}

}  // namespace vlm2vec
