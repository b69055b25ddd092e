#include "mmeb/training/bad_rows.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"

namespace vlm2vec {

std::string fault_of(Encoder& encoder, const EncoderInput& input) {
  try {
    encoder.prepare({&input, 1});  // the pictures stay in its cache
    return "";
  } catch (const Error& error) {
    if (error.code != Exit::data) throw;
    return error.what();
  }
}

BadRows::BadRows(Encoder& encoder, std::filesystem::path output_dir, bool resumed)
    : encoder_(encoder), file_(std::move(output_dir) / "skipped_rows.jsonl") {
  if (!resumed) std::filesystem::remove(file_);
  else if (std::filesystem::exists(file_))
    read_json_lines(file_, [&](const nlohmann::ordered_json& line) { lines_.insert(line.dump()); });
}

bool BadRows::usable(const EncoderInput& input) {
  const std::string fault = fault_of(encoder_, input);
  if (fault.empty()) return true;
  const std::string line = nlohmann::ordered_json{{"row", input.row}, {"error", fault}}.dump();
  if (!lines_.insert(line).second) return false;
  std::ofstream list(file_, std::ios::app);
  list << line << std::endl;
  if (!list) fail(Exit::resources, file_.string(), ": writing failed; is the disk full?");
  return false;
}

std::string BadRows::note() const {
  if (lines_.empty()) return "";
  return sentence("train: ", lines_.size(), lines_.size() == 1 ? " row was" : " rows were", " left out, see ",
                  file_.string());
}

}  // namespace vlm2vec
