// Archives for tests: zip files through libzip, tar files byte by byte.
#pragma once
#include <gtest/gtest.h>
#include <zip.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/files.h"

namespace vlm2vec {

using Members = std::vector<std::pair<std::string, std::string>>;  // name, content

inline void write_zip(const std::filesystem::path& path, const Members& members, int method = ZIP_CM_DEFLATE,
                      const char* password = nullptr) {
  std::filesystem::create_directories(path.parent_path());
  std::filesystem::remove(path);
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE, &code);
  ASSERT_NE(zip, nullptr) << path;
  for (const auto& [name, content] : members) {
    zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
    const zip_int64_t index = zip_file_add(zip, name.c_str(), source, 0);
    ASSERT_GE(index, 0) << name;
    zip_set_file_compression(zip, zip_uint64_t(index), method, 0);
    if (password) zip_file_set_encryption(zip, zip_uint64_t(index), ZIP_EM_AES_256, password);
  }
  ASSERT_EQ(zip_close(zip), 0) << path;
}

// A member with its header; `kind`: the type flag.
inline std::string tar_member(const std::string& name, const std::string& content, char kind = '0',
                              const std::string& link = "", int64_t claimed = -1) {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  put(0, name.substr(0, 100));
  char size[13];
  std::snprintf(size, sizeof size, "%011llo", static_cast<unsigned long long>(claimed < 0 ? content.size() : claimed));
  put(124, size), put(148, "        "), put(157, link), put(257, "ustar"), put(263, "00");
  header[156] = kind;
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  put(148, digits), header[154] = '\0';
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

inline std::string tar_of(const Members& members) {
  std::string bytes;
  for (const auto& [name, content] : members) bytes += tar_member(name, content);
  return bytes + std::string(1024, '\0');
}

inline void write_tar(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  write_text(path, bytes);
}

}  // namespace vlm2vec
