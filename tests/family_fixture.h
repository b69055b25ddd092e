// A tiny model of any family, made by the program, for the suites over all families.
#pragma once
#include "cli_fixture.h"
#include "golden.h"
#include "vlm/backbone.h"
#include "vlm/families/family.h"

namespace vlm2vec {

class FamilyCli : public Cli {
 protected:
  void must(const std::string& line) const {
    const Result r = run(line + " --quiet");
    ASSERT_EQ(r.code, 0) << line << ": " << r.err;
  }
  // Sets vocab_size, wherever the family has it.
  static void set_vocabulary(Json& config, int64_t tokens) {
    for (Json& value : config)
      if (value.is_object()) set_vocabulary(value, tokens);
    if (config.contains("vocab_size")) config["vocab_size"] = uint64_t(tokens);
  }
  // In ./family, of its tiny configuration, with the rows of make_model() and its tokenizer, or with CLIP's.
  void make_family(const Family& family, int64_t max_pixels) const {
    make_model();
    Json config = family.tiny_config(16);
    const bool own = family.image_token.empty();
    const fs::path tokenizer = own ? golden("clip/model") : folder_ / "model";
    if (own) set_vocabulary(config, read_json(tokenizer / "config.json").at("text_config").at("vocab_size"));
    write("config.json", config.dump());
    const bool resizes = make_backbone(folder_ / "config.json")->input().image_size == 0;
    must("init --config config.json --output_dir family --tokenizer " + tokenizer.string() +
         (resizes ? " --min_pixels 64 --max_pixels " + std::to_string(max_pixels) : ""));
  }
};

inline const Family& family_named(const std::string& model_type) {
  return *std::ranges::find(families(), model_type, &Family::model_type);
}

inline std::string test_name(std::string model_type) {
  return std::ranges::replace(model_type, '-', '_'), model_type;
}

inline std::vector<std::string> all_families() {
  std::vector<std::string> types;
  for (const Family& family : families()) types.push_back(family.model_type);
  return types;
}

}  // namespace vlm2vec
