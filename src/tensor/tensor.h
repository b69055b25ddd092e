// An n-dimensional array, always contiguous and row-major. Copying a Tensor copies the handle, not the numbers.
#pragma once
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "io/shape.h"
#include "tensor/dtype.h"
#include "tensor/storage.h"

namespace vlm2vec {

class Tensor {
 public:
  Tensor() = default;                               // undefined: means "none", e.g. a layer without bias
  Tensor(Shape shape, DType dtype, Device device);  // uninitialised

  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const;  // dim(-1) is the last
  int64_t numel() const { return numel_; }
  int64_t columns() const { return dim(-1); }  // as a matrix: the last dimension …
  int64_t rows() const;                        // … and the product of all others
  DType dtype() const { return dtype_; }
  Device device() const;
  bool defined() const { return storage_ != nullptr; }
  bool is_borrowed() const { return storage_ && storage_->owner; }  // the bytes belong to e.g. a mapped file
  explicit operator bool() const { return defined(); }
  int64_t bytes() const { return numel_ * size_of(dtype_); }

  template <class T>
  T* data() const {
    if (dtype_of<T> != dtype_) wrong_type(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  void* raw() const;

  Tensor view(Shape shape) const;                 // the same numbers in another shape; one dimension may be -1
  Tensor rows(int64_t begin, int64_t end) const;  // a view of a leading slice
  Tensor to(Device device) const;
  Tensor to(DType dtype) const;  // rounds to nearest; returns *this if the type is the same
  Tensor clone() const;
  // Moves tensors of one device to another in a single transfer. There they share one storage.
  static void move_together(const std::vector<Tensor*>& tensors, Device device);
  bool unique() const { return storage_.use_count() == 1; }

  // Borrows `bytes` bytes of host memory that `owner` keeps alive.
  static Tensor borrow(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner);

 private:
  [[noreturn]] void wrong_type(DType wanted) const;
  Shape shape_;
  int64_t numel_ = 0;
  int64_t offset_ = 0;  // bytes from the start of the storage
  std::shared_ptr<Storage> storage_;
  DType dtype_ = DType::f32;
};

std::ostream& operator<<(std::ostream& out, const Tensor& x);  // "f32[3, 4]"

Tensor empty_like(const Tensor& x);
void copy_bytes(const Tensor& from, const Tensor& to);  // both must have the same size
Tensor zeros(Shape shape, DType dtype, Device device);
Tensor full(Shape shape, double value, DType dtype, Device device);

// Copy host numbers into a tensor and back. to_vector converts floats of any type.
template <class T>
Tensor from_vector(const std::vector<T>& values, Shape shape, Device device = Device::cpu);
template <class T>
Tensor from_vector(const std::vector<T>& values, Device device = Device::cpu) {  // of one axis
  return from_vector(values, Shape{int64_t(values.size())}, device);
}
template <class T>
std::vector<T> to_vector(const Tensor& x);
double item(const Tensor& x);  // x must have one element

}  // namespace vlm2vec
