#include <png.h>
#include <snappy.h>
#include <utf8proc.h>
#include <zlib.h>
#include <zstd.h>

#include <CLI/Version.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec {

Exit run_version(const Command& command, const Arguments& arguments) {
  bool json = false;
  CommandLine line(command.name, command.purpose, "version --json");
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  std::vector<std::string> found;
  for (const Simd* isa : available_isas()) found.push_back(isa->name);
  const nlohmann::ordered_json version = {
      {"vlm2vec", VLM2VEC_VERSION},
      {"build", VLM2VEC_BUILD},
      {"compiler", "g++ " __VERSION__},
      {"instruction_sets", found},
      {"instruction_set", isa_name()},
      {"libraries",
       {{"libpng", png_get_libpng_ver(nullptr)},
        {"zlib", zlibVersion()},
        {"snappy", sentence(SNAPPY_MAJOR, ".", SNAPPY_MINOR, ".", SNAPPY_PATCHLEVEL)},
        {"zstd", ZSTD_versionString()},
        {"utf8proc", utf8proc_version()},
        {"nlohmann-json",
         sentence(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".", NLOHMANN_JSON_VERSION_PATCH)},
        {"CLI11", CLI11_VERSION}}}};
  if (json) {
    std::cout << version << '\n';
    return Exit::ok;
  }
  std::cout << "vlm2vec " << VLM2VEC_VERSION << " (" << VLM2VEC_BUILD << ", g++ " << __VERSION__
            << ")\ninstruction sets:";
  for (const std::string& name : found) std::cout << ' ' << name << (name == isa_name() ? " (used)" : "");
  std::cout << "\nlibraries:";
  for (const auto& [name, number] : version["libraries"].items())
    std::cout << ' ' << name << ' ' << number.get<std::string>();
  std::cout << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
