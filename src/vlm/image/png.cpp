// PNG through libpng, which reports errors by longjmp. So the functions that call it (decode_rows, encode_rows) hold
// plain values only; everything with a destructor lives outside.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "io/error.h"
#include "vlm/image/decoders.h"

namespace vlm2vec {
namespace {

constexpr size_t header_size = 33;           // signature (8), IHDR: length, name (4 + 4), fields (13), CRC (4)
constexpr uint64_t best_compression = 1032;  // deflate cannot expand one byte to more

// The input, output and error of one call of libpng.
struct Job {
  std::span<const uint8_t> input = {};
  std::string output = {};
  size_t position = 0;
  Picture picture = {};
  std::vector<uint8_t*> rows = {};
  char fault[200] = "";
  bool cut = false, complete = false;  // the input ended early; all rows were there before the fault
};

void on_error(png_structp png, png_const_charp message) {
  Job& job = *static_cast<Job*>(png_get_error_ptr(png));
  std::strncpy(job.fault, message, sizeof(job.fault) - 1);
  const bool last_pass_done = png_get_current_pass_number(png) == PNG_INTERLACE_ADAM7_PASSES;
  job.complete = !job.rows.empty() && (last_pass_done || png_get_current_row_number(png) == job.rows.size());
  longjmp(png_jmpbuf(png), 1);
}

// Damaged text, profiles and the like: the pixels do not depend on them.
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, size_t count) {
  Job& job = *static_cast<Job*>(png_get_io_ptr(png));
  if (count > job.input.size() - job.position) {
    job.cut = true;
    png_error(png, "the file ends too early");
  }
  std::memcpy(to, job.input.data() + job.position, count);
  job.position += count;
}

void on_write(png_structp png, png_bytep from, size_t count) {
  Job& job = *static_cast<Job*>(png_get_io_ptr(png));
  job.output.append(reinterpret_cast<const char*>(from), count);
}

void on_flush(png_structp) {}

uint32_t big_endian(const uint8_t* p) { return uint32_t(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

// Checks that the file can hold the size in its header, before anything of that size is allocated.
void check_header(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() < header_size) fail(Exit::data, name, ": the PNG is truncated: it ends within its header");
  const uint8_t* ihdr = bytes.data() + 12;
  if (std::memcmp(ihdr, "IHDR", 4) != 0 || crc32(0, ihdr, 17) != big_endian(ihdr + 17))
    fail(Exit::data, name, ": the PNG header is damaged (no IHDR, or its check sum is wrong)");
  const uint64_t width = big_endian(ihdr + 4), height = big_endian(ihdr + 8);
  check_size(width, height, name);
  const uint64_t least_bits = ihdr[12];  // bits of a sample; a pixel has at least one sample
  if (width * height * least_bits / 8 > best_compression * bytes.size())
    fail(Exit::data, name, ": ", width, "x", height, " pixels cannot be packed into ", bytes.size(),
         " bytes; the PNG is truncated");
}

// Returns damage that Pillow overlooks: wrong check sums behind the header, and a missing end.
std::string flaw_of(std::span<const uint8_t> bytes) {
  for (size_t at = 8;;) {
    if (bytes.size() - at < 12) return "the PNG ends before its end mark";
    const size_t length = big_endian(&bytes[at]);
    if (length > bytes.size() - at - 12) return "the PNG ends within a chunk";
    const uint8_t* kind = &bytes[at + 4];
    if (crc32(0, kind, uInt(length + 4)) != big_endian(kind + 4 + length)) return "a check sum of the PNG is wrong";
    at += length + 12;
    if (std::memcmp(kind, "IEND", 4) == 0) return at < bytes.size() ? bytes_follow(bytes.size() - at) : "";
  }
}

// Returns EXIF's orientation, which may also lie behind the pixels.
int orientation_in_chunks(std::span<const uint8_t> bytes) {
  for (size_t at = 8; bytes.size() - at >= 12;) {
    const size_t length = big_endian(&bytes[at]);
    if (length > bytes.size() - at - 12) break;
    if (std::memcmp(&bytes[at + 4], "eXIf", 4) == 0) return orientation_of(bytes.subspan(at + 8, length));
    at += length + 12;
  }
  return 1;
}

// Allocates the picture once libpng has read the header, and asks for the samples that `Picture` promises.
void prepare_rows(png_structp png, png_infop info, Job& job) {
  const int width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  const int depth = png_get_bit_depth(png, info), colour = png_get_color_type(png, info);
  const int channels = png_get_channels(png, info);
  Picture& picture = job.picture;
  constexpr Mode mode_of[] = {Mode::gray, Mode::gray_alpha, Mode::rgb, Mode::rgba};
  picture.mode = mode_of[channels - 1];
  if (colour == PNG_COLOR_TYPE_PALETTE) {
    picture.mode = Mode::palette;
    png_set_packing(png);  // a byte an index
    png_colorp colours = nullptr;
    png_bytep alpha = nullptr;
    int count = 0, alphas = 0;
    png_get_PLTE(png, info, &colours, &count);
    png_get_tRNS(png, info, &alpha, &alphas, nullptr);
    picture.palette.assign(4 * 256, 0);
    for (int i = 0; i < count; ++i) {
      uint8_t* entry = &picture.palette[4 * size_t(i)];
      entry[0] = colours[i].red, entry[1] = colours[i].green, entry[2] = colours[i].blue;
      entry[3] = i < alphas ? alpha[i] : 255;
    }
  } else if (depth < 8) {
    if (depth == 1) picture.mode = Mode::bilevel;
    png_set_expand_gray_1_2_4_to_8(png);
  } else if (depth == 16) {
    if (channels == 1) picture.mode = Mode::gray16;
    else png_set_strip_16(png);
  }
  png_set_interlace_handling(png);

  const bool wide = picture.mode == Mode::gray16;
  picture.samples = Image(width, height, wide ? 0 : channels);
  if (wide) picture.wide.resize(size_t(width) * height);
  uint8_t* first = wide ? reinterpret_cast<uint8_t*>(picture.wide.data()) : picture.samples.pixels.data();
  const size_t row_bytes = size_t(width) * (wide ? sizeof(int32_t) : channels);
  job.rows.resize(height);
  for (int y = 0; y < height; ++y) job.rows[y] = first + y * row_bytes;
}

// 16-bit samples lie as big-endian pairs at the front of their row's memory; each moves to its place, the last first.
void widen_rows(Job& job) {
  const int width = job.picture.samples.width;
  for (size_t y = 0; y < job.rows.size(); ++y) {
    const uint8_t* row = job.rows[y];
    int32_t* to = &job.picture.wide[y * width];
    for (int x = width - 1; x >= 0; --x) to[x] = row[2 * x] << 8 | row[2 * x + 1];
  }
}

// `step`: bytes of compressed pixels that are read at a time.
bool decode_rows(Job& job, size_t step) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    return job.complete;
  }
  png_set_read_fn(png, &job, on_read);
  png_set_compression_buffer_size(png, step);
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size has its own
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_read_info(png, info);
  png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);  // Pillow does not check the pixels' CRC either
  prepare_rows(png, info, job);
  png_read_image(png, job.rows.data());
  png_destroy_read_struct(&png, &info, nullptr);  // Pillow, too, reads nothing behind the pixels
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
  png_set_IHDR(png, info, job.picture.samples.width, job.picture.samples.height, 8,
               colour_of[job.picture.samples.channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  png_write_image(png, job.rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return true;
}

}  // namespace

Picture decode_png(Bytes bytes, const std::string& name) {
  check_header(bytes, name);
  Job job{.input = bytes};
  bool decoded = decode_rows(job, 8192);
  if (!decoded && job.cut) {  // byte by byte: are the pixels there, and only their check sum is not?
    job = {.input = bytes};
    decoded = decode_rows(job, 1);
  }
  if (!decoded) fail(Exit::data, name, ": damaged PNG: ", job.fault);
  if (job.picture.mode == Mode::gray16) widen_rows(job);
  job.picture.flaw = *job.fault ? sentence("damaged PNG: ", job.fault) : flaw_of(bytes);
  job.picture.orientation = orientation_in_chunks(bytes);
  return std::move(job.picture);
}

std::string encode_png(const Image& image) {
  CHECK(image.width > 0 && image.height > 0 && image.channels >= 1 && image.channels <= 4, "encode_png: ", image.width,
        "x", image.height, "x", image.channels, " samples; expected a picture of 1 to 4 channels");
  Job job{.picture = {.samples = image}};
  for (int y = 0; y < image.height; ++y) job.rows.push_back(job.picture.samples.at(y, 0));
  CHECK(encode_rows(job), "encode_png: ", job.fault);
  return std::move(job.output);
}

}  // namespace vlm2vec
