#include "vlm/parity.h"

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"
#include "tensor/cpu/simd/simd.h"
#include "vlm/known_hashes.h"
#include "vlm/model.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Returns the SHA-256 of the files that define a model.
Json hashes(const fs::path& folder) {
  Json list = Json::object();
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (const std::string type = entry.path().extension();
        type == ".safetensors" || type == ".json" || type == ".txt" || type == ".bin")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  const std::vector<std::string> known = known_hashes(files);
  for (size_t i = 0; i < files.size(); ++i) list[files[i].filename().string()] = known[i];
  return list;
}

Json certificate(ModelOptions model, Device device, const std::vector<CaseParity>& cases) {
  Json json = {{"model", model.model_name},
               {"device", origin_of(device)},
               {"instruction_set", isa_name()},
               {"ok", std::none_of(cases.begin(), cases.end(), [](const CaseParity& c) { return c.divergence(); })},
               {"files", hashes(model.model_name)}};
  model.fields([&](const char* name, const auto& value, const char*) { json["options"][name] = value; });
  if (!model.adapter.empty()) json["adapter"] = {{"folder", model.adapter}, {"files", hashes(model.adapter)}};
  Json worst = Json::object(), list = Json::array();
  for (const CaseParity& c : cases) {
    const StageParity* first = c.divergence();
    list.push_back({{"name", c.name}, {"first_divergence", first ? Json(first->stage) : Json(nullptr)}});
    if (!c.cause.empty()) list.back()["cause"] = c.cause;
    for (const StageParity& s : c.stages) {
      list.back()["stages"][s.stage] = {{"error", s.error}, {"limit", s.limit}};
      worst[s.stage] = std::max(worst.value(s.stage, 0.0), s.error);
    }
  }
  json["maximum_error"] = worst, json["cases"] = list;
  return json;
}

void print_case(const CaseParity& c) {
  const StageParity *first = c.divergence(), &shown = first ? *first : c.stages.back();
  std::printf("%-28s %3zu stages  %s %-16s %.3g (limit %.3g)\n", c.name.c_str(), c.stages.size(),
              first ? "DIVERGES at" : "equal up to", shown.stage.c_str(), shown.error, shown.limit);
  if (!c.cause.empty()) std::printf("%-28s %s\n", "", c.cause.c_str());
}

}  // namespace

Exit run_parity(const Command& command, const Arguments& arguments) {
  ModelOptions model;
  std::string reference, output;
  Device device;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "parity --model_name Qwen2-VL-2B-Instruct --reference dumps");
  model.fields(line);
  line.section("Comparison");
  line("reference", reference,
       "<DIR> folder with cases.json and a NAME.safetensors for each case (made by tests/interop/dump.py)");
  line("output", output, "<FILE> the certificate to write (default: parity.json in the reference folder)");
  line.require({"model_name", "reference"});
  line.threads().device(device).quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (output.empty()) output = fs::path(reference) / "parity.json";
  if (!fs::is_directory(reference))
    fail(Exit::data, reference, ": no such folder; --reference must name the folder of dumps");
  check_output_file(output, {"a certificate", "{\n  \"model\": "});
  const auto encoder = load_model(model, device, quiet);
  const auto cases = compare_with_reference(*encoder, reference, [&](const CaseParity& c) {
    if (!quiet && !json) print_case(c);
  });
  const Json result = certificate(model, device, cases);
  write_text(output, result.dump(2) + "\n");
  if (json) std::cout << result << '\n';
  return result.at("ok").get<bool>() ? Exit::ok : Exit::failed;
}

}  // namespace vlm2vec
