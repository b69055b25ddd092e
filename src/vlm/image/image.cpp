// A file's first bytes decide which decoder reads it, never its name. Converting to RGB is Pillow's Convert.c.
#include "vlm/image/image.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "io/archive.h"
#include "io/error.h"
#include "io/files.h"
#include "io/text.h"
#include "vlm/image/decoders.h"

namespace vlm2vec {
namespace {

struct Format {
  const char* name;
  Picture (*decode)(Bytes bytes, const std::string& name);
  std::vector<std::string> extensions;
};
const std::array<Format, 7> formats = {{{"PNG", decode_png, {".png", ".apng"}},
                                        {"JPEG", decode_jpeg, {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}},
                                        {"GIF", decode_gif, {".gif"}},
                                        {"BMP", decode_bmp, {".bmp", ".dib"}},
                                        {"WebP", decode_webp, {".webp"}},
                                        {"PNM", decode_pnm, {".pnm", ".ppm", ".pgm", ".pbm"}},
                                        {"TGA", decode_tga, {".tga", ".icb", ".vda", ".vst"}}}};

const Format* format_of(Bytes bytes) {
  const auto has = [&](std::string_view magic, size_t at = 0) {
    return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
  };
  if (has("\x89PNG\r\n\x1a\n")) return &formats[0];
  if (has("\xFF\xD8\xFF")) return &formats[1];
  if (has("GIF87a") || has("GIF89a")) return &formats[2];
  if (has("BM")) return &formats[3];
  if (has("RIFF") && has("WEBP", 8)) return &formats[4];
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && std::isspace(bytes[2]))
    return &formats[5];
  return is_tga(bytes) ? &formats[6] : nullptr;
}

// Returns "the name says PNG, the bytes say JPEG"; empty for names that promise nothing.
std::string misnamed(const std::filesystem::path& path, const Format& format) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  for (const Format& other : formats)
    if (&other != &format && std::count(other.extensions.begin(), other.extensions.end(), extension))
      return sentence("the name says ", other.name, ", the bytes say ", format.name);
  return "";
}

// formula(samples of a pixel, RGB or RGBA out) for every pixel.
template <class Formula>
Image converted(const Image& from, int channels, Formula formula) {
  Image to(from.width, from.height, channels);
  const uint8_t* in = from.pixels.data();
  for (size_t i = 0; i < to.pixels.size(); i += channels, in += from.channels) formula(in, &to.pixels[i]);
  return to;
}

Image convert(Picture picture, int channels) {
  const Image& samples = picture.samples;
  const bool alpha = channels == 4;
  switch (picture.mode) {
    case Mode::bilevel:
    case Mode::gray:
    case Mode::gray_alpha:
      return converted(samples, channels, [&](const uint8_t* in, uint8_t* out) {
        out[0] = out[1] = out[2] = in[0];
        if (alpha) out[3] = samples.channels == 2 ? in[1] : 255;
      });
    case Mode::palette:
      return converted(samples, channels,
                       [&](const uint8_t* in, uint8_t* out) { std::copy_n(&picture.palette[4 * *in], channels, out); });
    case Mode::rgb:
    case Mode::rgba:
      if (samples.channels == channels) return std::move(picture.samples);
      return converted(samples, channels, [&](const uint8_t* in, uint8_t* out) {
        std::copy_n(in, 3, out);
        if (alpha) out[3] = 255;
      });
    case Mode::cmyk:
      return converted(samples, channels, [&](const uint8_t* in, uint8_t* out) {
        const int light = 255 - in[3];
        for (int c = 0; c < 3; ++c) out[c] = uint8_t(light - product_of_bytes(in[c], light));
        if (alpha) out[3] = 255;
      });
    case Mode::gray16:
    case Mode::gray32:
      break;
  }
  Image out(samples.width, samples.height, channels);
  for (size_t i = 0; i < picture.wide.size(); ++i) {
    uint8_t* to = &out.pixels[i * channels];
    to[0] = to[1] = to[2] = uint8_t(std::clamp(picture.wide[i], 0, 255));
    if (alpha) to[3] = 255;
  }
  return out;
}

}  // namespace

void check_size(uint64_t width, uint64_t height, const std::string& name) {
  if (width == 0 || height == 0) fail(Exit::data, name, ": ", width, "x", height, " pixels; the header is damaged");
  constexpr uint64_t most = most_pixels;
  if (width > most || height > most || width * height > most)
    fail(Exit::data, name, ": ", width, "x", height, " pixels; pictures of more than ", most_pixels, " are refused");
}

Picture decode_picture(std::span<const uint8_t> bytes, const std::string& name) {
  if (const Format* format = format_of(bytes)) return format->decode(bytes, name);
  if (bytes.empty()) fail(Exit::data, name, ": is empty; expected a picture");
  const std::string format = unread_format(bytes), read = "PNG, JPEG, GIF, BMP, WebP, TGA, PPM, PGM or PBM";
  if (!format.empty()) fail(Exit::data, name, ": is ", format, ", which is not read; convert it to PNG or JPEG");
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 40));
  const auto is_text = [](char c) { return (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t'; };
  if (std::ranges::all_of(begin, is_text))
    fail(Exit::data, name, ": is a text that begins with \"", one_line(std::string(begin), 40),
         "\", expected a picture; has its download failed?");
  fail(Exit::data, name, ": is not a picture of a known format; expected ", read);
}

Picture read_picture(const PictureSource& source) {
  const FileBytes file = source.read();
  Picture picture = decode_picture(file.bytes, source.name());
  if (picture.flaw.empty() && source.is_file()) picture.flaw = misnamed(source.name(), *format_of(file.bytes));
  return picture;
}

Image to_rgb(Picture picture) { return convert(std::move(picture), 3); }
Image to_rgba(Picture picture) { return convert(std::move(picture), 4); }

void write_png(const std::filesystem::path& path, const Image& image) {
  write_text(path, encode_png(image), Sync::later);
}

}  // namespace vlm2vec
