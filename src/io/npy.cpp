#include "io/npy.h"

#include <algorithm>
#include <bit>
#include <regex>
#include <sstream>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
namespace {

const char* type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "<f4";
    case DType::f64:
      return "<f8";
    case DType::i32:
      return "<i4";
    case DType::i64:
      return "<i8";
    case DType::u8:
      return "|u1";
    default:
      fail(Exit::failed, "write_npy: NumPy has no type for ", name_of(dtype));
  }
}

}  // namespace

// Magic, version, u16 length of the header, the header padded so that the numbers start at a multiple of 64 bytes.
void write_npy(const std::filesystem::path& file, const Tensor& x) {
  static_assert(std::endian::native == std::endian::little);
  std::string shape;
  for (const int64_t side : x.shape()) shape += (shape.empty() ? "" : ", ") + std::to_string(side);
  if (x.shape().size() == 1) shape += ',';
  std::string header =
      sentence("{'descr': '", type_of(x.dtype()), "', 'fortran_order': False, 'shape': (", shape, "), }");
  header.resize((header.size() + 11 + 63) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  write_atomically(file, [&](std::ostream& out) {
    out.write("\x93NUMPY\x01\x00", 8).put(char(header.size() & 255)).put(char(header.size() >> 8));
    out << header;
    out.write(static_cast<const char*>(x.raw()), x.bytes());
  });
}

Tensor read_npy(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const std::string_view bytes(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size());
  const auto wrong = [&](const auto&... what) { fail(Exit::data, file.string(), ": ", what...); };
  if (!bytes.starts_with(std::string_view("\x93NUMPY\x01\x00", 8)) || bytes.size() < 10)
    wrong("is not a NumPy file of format 1.0");
  const size_t start = 10 + size_t(uint8_t(bytes[8])) + (size_t(uint8_t(bytes[9])) << 8);
  const std::string header(bytes.substr(10, start - 10));
  static const std::regex pattern(R"(\{'descr': '(.{3})', 'fortran_order': False, 'shape': \(([0-9, ]*)\),? *\}\s*)");
  std::smatch parts;
  if (!std::regex_match(header, parts, pattern))
    wrong("its header is ", header, ", expected one of an array in C order");
  const DType types[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8};
  const auto* type = std::find_if(std::begin(types), std::end(types), [&](DType t) { return parts[1] == type_of(t); });
  if (type == std::end(types)) wrong("holds ", parts[1], ", expected <f4, <f8, <i4, <i8 or |u1");
  Shape shape;
  std::string sides = parts[2];
  std::replace(sides.begin(), sides.end(), ',', ' ');
  std::istringstream stream(sides);
  for (int64_t side; stream >> side;) shape.push_back(side);
  if (bytes.size() != start + size_t(numel(shape) * size_of(*type)))
    wrong("has ", bytes.size(), " bytes, but ", to_string(shape), " numbers need ",
          start + size_t(numel(shape) * size_of(*type)), "; is it cut off?");
  return Tensor::borrow(bytes.data() + start, shape, *type, mapped);
}

}  // namespace vlm2vec
