#include <brotli/decode.h>
#include <gnu/libc-version.h>
#include <lz4.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <png.h>
#include <snappy.h>
#include <utf8proc.h>
#include <webp/decode.h>
#include <zip.h>
#include <zlib.h>
#include <zstd.h>

#include <CLI/Version.hpp>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include <jconfig.h>  // of libjpeg-turbo

#include "cli/commands.h"
#include "kernels/gpu.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/host_memory.h"

#define AS_TEXT(x) #x
#define VALUE_AS_TEXT(x) AS_TEXT(x)
#define LIBJPEG_VERSION VALUE_AS_TEXT(LIBJPEG_TURBO_VERSION)

namespace vlm2vec {

namespace {

nlohmann::ordered_json names_of_gpus() {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const gpu::Card& card : gpu::cards()) all.push_back(card.name + ", " + in_bytes(card.bytes));
  return all;
}

}  // namespace

nlohmann::ordered_json version_json() {
  char pcre2[64] = "";
  pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
  const int webp = WebPGetDecoderVersion();
  const uint32_t brotli = BrotliDecoderVersion();
  return {{"vlm2vec", VLM2VEC_VERSION},
          {"build", VLM2VEC_BUILD},
          {"compiler", "g++ " __VERSION__},
          {"instruction_sets", isa_names()},
          {"instruction_set", isa_name()},
          {"cuda", gpu::toolkit().empty() ? "not linked" : gpu::toolkit()},
          {"cuda_driver", gpu::driver()},
          {"gpus", names_of_gpus()},
          {"libraries",
           {{"glibc", gnu_get_libc_version()},
            {"libcrypto", OpenSSL_version(OPENSSL_VERSION_STRING)},
            {"libpng", png_get_libpng_ver(nullptr)},
            {"libjpeg-turbo", LIBJPEG_VERSION},
            {"libwebp", sentence(webp >> 16, ".", webp >> 8 & 255, ".", webp & 255)},
            {"zlib", zlibVersion()},
            {"snappy", sentence(SNAPPY_MAJOR, ".", SNAPPY_MINOR, ".", SNAPPY_PATCHLEVEL)},
            {"zstd", ZSTD_versionString()},
            {"brotli", sentence(brotli >> 24, ".", brotli >> 12 & 4095, ".", brotli & 4095)},
            {"lz4", LZ4_versionString()},
            {"libzip", zip_libzip_version()},
            {"pcre2", std::string(pcre2, std::strcspn(pcre2, " "))},
            {"utf8proc", utf8proc_version()},
            {"nlohmann-json",
             sentence(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".", NLOHMANN_JSON_VERSION_PATCH)},
            {"CLI11", CLI11_VERSION}}}};
}

Exit run_version(const Command& command, const Arguments& arguments) {
  bool json = false;
  CommandLine line(command.name, command.purpose, "version --json");
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  const nlohmann::ordered_json version = version_json();
  if (json) {
    std::cout << version << '\n';
    return Exit::ok;
  }
  std::cout << "vlm2vec " << VLM2VEC_VERSION << " (" << VLM2VEC_BUILD << ", g++ " << __VERSION__
            << "; CUDA: " << version["cuda"].get<std::string>() << ")\ninstruction sets:";
  for (const std::string name : version["instruction_sets"])
    std::cout << ' ' << name << (name == isa_name() ? " (used)" : "");
  for (const std::string gpu : version["gpus"])
    std::cout << "\nGPU: " << gpu << ", driver for CUDA " << version["cuda_driver"].get<std::string>();
  if (version["gpus"].empty() && !gpu::toolkit().empty()) std::cout << "\nGPU: none; " << gpu::missing();
  std::cout << "\nlibraries:";
  for (const auto& [name, number] : version["libraries"].items())
    std::cout << ' ' << name << ' ' << number.get<std::string>();
  std::cout << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
