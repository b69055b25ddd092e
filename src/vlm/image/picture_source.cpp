#include "vlm/image/picture_source.h"

#include <strings.h>

#include "io/base64.h"
#include "io/error.h"
#include "io/sha256.h"
#include "io/text.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

constexpr std::string_view kBase64 = ";base64";

std::string key_of(std::span<const uint8_t> bytes) {
  return "sha256:" + hex(sha256(as_text(bytes)));
}

}  // namespace

bool PictureSource::is_data_uri(const std::string& text) {
  return strncasecmp(text.c_str(), "data:", 5) == 0 && text.find(',') != text.npos;
}

PictureSource PictureSource::of_text(const std::string& text) {
  return is_data_uri(text) ? of_data_uri(text) : PictureSource(text);
}

PictureSource PictureSource::of_data_uri(const std::string& uri) {
  const size_t comma = uri.find(',');
  if (comma == uri.npos ||
      !(comma >= kBase64.size() && strncasecmp(&uri[comma - kBase64.size()], kBase64.data(), kBase64.size()) == 0))
    fail(Exit::data, one_line(uri, 40), ": is not a picture in base64; expected data:image/png;base64,...");
  PictureSource source = of_base64(uri.substr(comma + 1));
  source.name_ = one_line(uri, comma + 13) + source.name_.substr(source.name_.find(" ("));
  return source;
}

PictureSource PictureSource::of_base64(const std::string& text) {
  std::vector<uint8_t> bytes;
  std::string fault;
  try {
    bytes = from_base64(text);
  } catch (const Error& error) {
    fault = error.what();
    bytes.assign(text.begin(), text.end());
  }
  PictureSource source(sentence("base64 ", one_line(text, 12), " (", bytes.size(), " bytes)"));
  const auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  source.held_ = {*owner, owner};
  source.fault_ = std::move(fault);
  source.key_ = key_of(source.held_.bytes);
  return source;
}

PictureSource PictureSource::by_content() const {
  PictureSource source = *this;
  if (is_file()) source.key_ = key_of(read().bytes);
  return source;
}

FileBytes PictureSource::read() const {
  if (!fault_.empty()) fail(Exit::data, name_, ": ", fault_);
  return is_file() ? read_file_or_member(name_, most_picture_bytes) : held_;
}

}  // namespace vlm2vec
