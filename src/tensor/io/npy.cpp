#include "tensor/io/npy.h"

#include <bit>

#include "tensor/io/files.h"

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

}  // namespace vlm2vec
