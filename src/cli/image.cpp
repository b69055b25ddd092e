#include <charconv>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"
#include "tensor/tensor_files.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// "640x480"
Size parse_size(const std::string& text) {
  Size size{};
  const char* end = text.data() + text.size();
  const auto [x, bad_width] = std::from_chars(text.data(), end, size.width);
  const bool separated = bad_width == std::errc() && x != end && *x == 'x';
  if (separated) {
    const auto [rest, bad_height] = std::from_chars(x + 1, end, size.height);
    if (bad_height == std::errc() && rest == end && std::min(size.width, size.height) > 0 &&
        int64_t(size.width) * size.height <= most_pixels)
      return size;
  }
  fail(Exit::usage, "image: --resize: got \"", text, "\", expected WIDTHxHEIGHT with at most ", most_pixels, " pixels");
}

// Returns the output of each file: --output itself for one file, FILE.npy in the folder --output for several.
std::vector<fs::path> outputs_of(const std::vector<std::string>& files, const fs::path& output) {
  if (files.size() == 1) {
    if (output.extension() != ".npy" && output.extension() != ".png")
      fail(Exit::usage, "image: --output: got \"", output.string(), "\", expected a name that ends in .npy or .png");
    check_output_file(output, output.extension() == ".png" ? kPngFile : kNpyFile, {files[0]});
    return {output};
  }
  if (output.has_extension() || (fs::exists(output) && !fs::is_directory(output)))
    fail(Exit::usage, "image: --output: got \"", output.string(), "\" for ", files.size(), " files, expected a folder");
  std::vector<fs::path> outputs;
  for (const std::string& file : files) outputs.push_back(output / (fs::path(file).filename().string() + ".npy"));
  if (std::set(outputs.begin(), outputs.end()).size() < outputs.size())
    fail(Exit::usage, "image: two files have the same name, so one would replace the other in ", output.string());
  if (fs::is_directory(output))
    for (const fs::path& file : outputs) check_output_file(file, kNpyFile);
  return outputs;
}

void write(const fs::path& file, const Image& image) {
  if (file.extension() == ".png") return write_png(file, image);
  Tensor pixels({image.height, image.width, 3}, DType::u8, Device::cpu);
  std::memcpy(pixels.raw(), image.pixels.data(), image.pixels.size());
  write_npy(file, pixels);
}

}  // namespace

Exit run_image(const Command& command, const Arguments& arguments) {
  std::vector<std::string> files;
  std::string size, filter = "bicubic", output;
  bool own_mode = false, exif = false, quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "image photo.jpg --resize 448x448 --output photo.npy");
  line.words("FILE...", files, "pictures: PNG, JPEG, GIF, BMP, WebP, TGA, PPM, PGM or PBM");
  line("resize", size, "<WIDTHxHEIGHT> resize to WIDTHxHEIGHT, as RGB");
  line("filter", filter,
       "<nearest|box|bilinear|bicubic|lanczos> filter for resizing");
  line("own_mode", own_mode,
       "resize before converting to RGB, as --image_resolution does; palettes and black and white always use nearest");
  line("exif", exif, "turn the picture upright by its EXIF orientation");
  line("output", output,
       "<FILE> F.npy (uint8 [height, width, 3]) or F.png; for several FILEs a folder, which gets a FILE.npy for each");
  line.require({"output"});
  line.quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (size.empty() && (own_mode || filter != "bicubic"))
    fail(Exit::usage, "image: --filter and --own_mode need --resize WIDTHxHEIGHT");
  const Filter by = parse_filter(filter);
  const Size wanted = size.empty() ? Size{} : parse_size(size);
  const std::vector<fs::path> outputs = outputs_of(files, output);
  if (files.size() > 1) fs::create_directories(output);
  Json written = Json::array();
  for (size_t i = 0; i < files.size(); ++i) {
    Picture picture = read_picture(files[i]);
    const std::string flaw = picture.flaw;
    if (exif) picture = turned(std::move(picture), picture.orientation);
    if (!quiet && !flaw.empty()) std::cerr << files[i] << ": " << flaw << '\n';
    if (!size.empty() && own_mode) picture = resize(picture, wanted, by);
    Image image = to_rgb(std::move(picture));
    if (!size.empty() && !own_mode) image = resize(image, wanted, by);
    write(outputs[i], image);
    written.push_back(
        {{"file", files[i]}, {"width", image.width}, {"height", image.height}, {"output", outputs[i].string()}});
    if (!flaw.empty()) written.back()["flaw"] = flaw;
  }
  if (json) std::cout << Json{{"pictures", written}} << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
