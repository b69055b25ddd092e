#include "io/npy.h"

#include <algorithm>
#include <bit>
#include <regex>
#include <sstream>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec {
// Magic, version, u16 length of the header, the header padded so that the numbers start at a multiple of 64 bytes.
void write_npy_array(const std::filesystem::path& file, const StoredArray& x) {
  if (!*x.type->npy) fail(Exit::failed, "write_npy: NumPy has no type for ", x.type->name);
  static_assert(std::endian::native == std::endian::little);
  std::string shape;
  for (const int64_t side : x.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(side);
  if (x.shape.size() == 1) shape += ',';
  std::string header = sentence("{'descr': '", x.type->npy, "', 'fortran_order': False, 'shape': (", shape, "), }");
  header.resize((header.size() + 11 + 63) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  write_atomically(file, [&](std::ostream& out) {
    out.write("\x93NUMPY\x01\x00", 8).put(char(header.size() & 255)).put(char(header.size() >> 8));
    out << header;
    out.write(reinterpret_cast<const char*>(x.data.bytes.data()), x.bytes());
  });
}

StoredArray read_npy_array(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const std::string_view bytes = as_text(mapped->bytes());
  const auto wrong = [&](const auto&... what) { fail(Exit::data, file.string(), ": ", what...); };
  if (!bytes.starts_with(std::string_view("\x93NUMPY\x01\x00", 8)) || bytes.size() < 10)
    wrong("is not a NumPy file of format 1.0");
  const size_t start = 10 + size_t(uint8_t(bytes[8])) + (size_t(uint8_t(bytes[9])) << 8);
  const std::string header(bytes.substr(10, start - 10));
  static const std::regex pattern(R"(\{'descr': '(.{3})', 'fortran_order': False, 'shape': \(([0-9, ]*)\),? *\}\s*)");
  std::smatch parts;
  if (!std::regex_match(header, parts, pattern))
    wrong("its header is ", header, ", expected one of an array in C order");
  StoredArray x{find_type(&StoredType::npy, parts[1].str())};
  if (!x.type) wrong("holds ", parts[1], ", expected <f4, <f8, <i4, <i8 or |u1");
  std::string sides = parts[2];
  std::replace(sides.begin(), sides.end(), ',', ' ');
  std::istringstream stream(sides);
  for (int64_t side; stream >> side;) x.shape.push_back(side);
  if (bytes.size() != start + size_t(x.bytes()))
    wrong("has ", bytes.size(), " bytes, but ", to_string(x.shape), " numbers need ", start + size_t(x.bytes()),
          "; is it cut off?");
  x.data = {mapped->bytes().subspan(start), mapped};
  return x;
}

}  // namespace vlm2vec
