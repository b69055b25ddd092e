#include "mmeb/training/bad_rows.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/files.h"

namespace vlm2vec {

using Json = nlohmann::ordered_json;

BadRows::BadRows(std::filesystem::path output_dir, bool resumed) : file_(std::move(output_dir) / "skipped_rows.jsonl") {
  if (!std::filesystem::exists(file_)) return;
  std::string whole;  // complete lines: a killed run may have left a partial one
  if (resumed) {
    std::ifstream list(file_);
    for (std::string text; std::getline(list, text);)
      if (const Json line = Json::parse(text, nullptr, false); line.is_object()) count(line), whole += text + "\n";
  }
  if (whole.empty()) std::filesystem::remove(file_);
  else write_text(file_, whole);
}

void BadRows::count(const Json& line) {
  lines_.insert(line.dump());
  if (line.contains("side") && line["side"] == "negative") ++negatives_;
  else if (line.contains("row")) rows_.insert(line["row"].dump());
}

void BadRows::add(const std::vector<LeftOut>& sides) {
  for (const LeftOut& side : sides) {
    const Json line = Json::parse(left_out_line(side));
    if (lines_.contains(line.dump())) continue;
    std::ofstream list(file_, std::ios::app);
    list << line.dump() << std::endl;
    if (!list) fail(Exit::resources, file_.string(), ": writing failed; is the disk full?");
    count(line);
  }
}

std::string BadRows::note() const {
  if (lines_.empty()) return "";
  const auto some = [](size_t n, const char* what) { return n == 0 ? "" : sentence(n, what, n == 1 ? "" : "s"); };
  const std::string rows = some(rows_.size(), " row"), negatives = some(size_t(negatives_), " hard negative");
  return sentence("train: ", rows, rows.empty() || negatives.empty() ? "" : " and ", negatives, " left out, see ",
                  file_.string());
}

}  // namespace vlm2vec
