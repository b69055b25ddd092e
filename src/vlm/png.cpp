// PNG through libpng. libpng reports errors by longjmp, so everything with a destructor lives outside the functions
// that call it (decode_rows, encode_rows), and those hold plain values only.
#include "vlm/png.h"

#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "tensor/error.h"

namespace vlm2vec {
namespace {

constexpr size_t header_size = 33;             // signature (8), IHDR: length, name (4 + 4), fields (13), CRC (4)
constexpr uint64_t most_pixels = 178'956'970;  // Pillow refuses larger pictures as decompression bombs
constexpr uint64_t best_compression = 1032;    // deflate cannot expand one byte to more

// What one call of libpng reads or writes, and its last words.
struct Job {
  std::span<const uint8_t> input = {};
  std::string output = {};
  size_t position = 0;
  Image image = {};
  std::vector<uint8_t> wide_rows = {};  // 16-bit gray as stored: big-endian pairs
  std::vector<uint8_t*> rows = {};
  char fault[200] = "";
};

void on_error(png_structp png, png_const_charp message) {
  Job& job = *static_cast<Job*>(png_get_error_ptr(png));
  std::strncpy(job.fault, message, sizeof(job.fault) - 1);
  longjmp(png_jmpbuf(png), 1);
}

// Damaged text, profiles and the like: the pixels do not depend on them.
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, size_t count) {
  Job& job = *static_cast<Job*>(png_get_io_ptr(png));
  if (count > job.input.size() - job.position) png_error(png, "the file ends too early");
  std::memcpy(to, job.input.data() + job.position, count);
  job.position += count;
}

void on_write(png_structp png, png_bytep from, size_t count) {
  Job& job = *static_cast<Job*>(png_get_io_ptr(png));
  job.output.append(reinterpret_cast<const char*>(from), count);
}

void on_flush(png_structp) {}

uint32_t big_endian(const uint8_t* p) { return uint32_t(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

// The file's bytes must be able to hold the size that the header claims, before anything of that size is allocated.
void check_header(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() < header_size) fail(Exit::data, name, ": ends within the PNG header; the file is cut");
  const uint8_t* ihdr = bytes.data() + 12;
  if (std::memcmp(ihdr, "IHDR", 4) != 0 || crc32(0, ihdr, 17) != big_endian(ihdr + 17))
    fail(Exit::data, name, ": the PNG header is damaged (no IHDR, or its check sum is wrong)");
  const uint64_t width = big_endian(ihdr + 4), height = big_endian(ihdr + 8);
  if (width * height > most_pixels)
    fail(Exit::data, name, ": ", width, "x", height, " pixels; pictures of more than ", most_pixels, " are refused");
  const uint64_t least_bits = ihdr[12];  // bits of a sample; a pixel has at least one sample
  if (width * height * least_bits / 8 > best_compression * bytes.size())
    fail(Exit::data, name, ": ", width, "x", height, " pixels cannot be packed into ", bytes.size(),
         " bytes; the file is cut");
}

// Allocates the picture once libpng has read the header, and asks for the samples that `Image` promises.
void prepare_rows(png_structp png, png_infop info, Job& job) {
  const int width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  const int depth = png_get_bit_depth(png, info), colour = png_get_color_type(png, info);
  const bool transparent = png_get_valid(png, info, PNG_INFO_tRNS);
  int channels = png_get_channels(png, info);
  if (colour == PNG_COLOR_TYPE_PALETTE) {
    png_set_palette_to_rgb(png);  // with tRNS to RGBA
    channels = transparent ? 4 : 3;
  }
  if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  const bool wide_gray = colour == PNG_COLOR_TYPE_GRAY && depth == 16;
  if (depth == 16 && !wide_gray) png_set_strip_16(png);
  png_set_interlace_handling(png);

  job.image = Image(width, height, channels);
  if (wide_gray) job.wide_rows.resize(size_t(width) * height * 2);
  uint8_t* first = wide_gray ? job.wide_rows.data() : job.image.pixels.data();
  const size_t row_bytes = size_t(width) * (wide_gray ? 2 : channels);
  job.rows.resize(height);
  for (int y = 0; y < height; ++y) job.rows[y] = first + y * row_bytes;
}

bool decode_rows(Job& job) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_read_fn(png, &job, on_read);
  png_read_info(png, info);
  png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);  // Pillow does not check the pixels' CRC either
  prepare_rows(png, info, job);
  png_read_image(png, job.rows.data());
  png_destroy_read_struct(&png, &info, nullptr);  // what follows the pixels is not read, as in Pillow
  return true;
}

bool encode_rows(Job& job) {
  static constexpr int colour_of[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                      PNG_COLOR_TYPE_RGB_ALPHA};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  png_set_write_fn(png, &job, on_write, on_flush);
  png_set_compression_level(png, 3);
  png_set_IHDR(png, info, job.image.width, job.image.height, 8, colour_of[job.image.channels], PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  png_write_image(png, job.rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return true;
}

}  // namespace

bool is_png(std::span<const uint8_t> bytes) { return bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0; }

Image decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  check_header(bytes, name);
  Job job{.input = bytes};
  if (!decode_rows(job)) fail(Exit::data, name, ": damaged PNG: ", job.fault);
  for (size_t i = 0; i < job.wide_rows.size(); i += 2)
    job.image.pixels[i / 2] = job.wide_rows[i] ? 255 : job.wide_rows[i + 1];  // min(v, 255)
  return std::move(job.image);
}

std::string encode_png(const Image& image) {
  CHECK(image.width > 0 && image.height > 0 && image.channels >= 1 && image.channels <= 4, "encode_png: ", image.width,
        "x", image.height, "x", image.channels, " samples; expected a picture of 1 to 4 channels");
  Job job{.image = image};
  for (int y = 0; y < image.height; ++y) job.rows.push_back(job.image.at(y, 0));
  CHECK(encode_rows(job), "encode_png: ", job.fault);
  return std::move(job.output);
}

}  // namespace vlm2vec
