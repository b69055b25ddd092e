#include "tensor/tensor.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace vlm2vec {

std::ostream& operator<<(std::ostream& out, const Tensor& x) {
  return x.defined() ? out << name_of(x.dtype()) << to_string(x.shape()) : out << "(none)";
}

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : shape_(std::move(shape)), numel_(vlm2vec::numel(shape_)), dtype_(dtype) {
  for (int64_t d : shape_) CHECK(d >= 0, "tensor: shape ", to_string(shape_), " has a negative dimension");
  storage_ = std::make_shared<Storage>(bytes(), device);
}

Tensor Tensor::borrow(const void* data, Shape shape, DType dtype, std::shared_ptr<const void> owner) {
  CHECK(owner != nullptr, "borrow: memory without an owner would go to the pool");
  Tensor t;
  t.shape_ = std::move(shape), t.numel_ = vlm2vec::numel(t.shape_), t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(data, t.bytes(), std::move(owner));
  return t;
}

int64_t Tensor::dim(int i) const {
  const int n = int(shape_.size()), k = i < 0 ? i + n : i;
  CHECK(k >= 0 && k < n, "tensor ", *this, " has no dimension ", i);
  return shape_[size_t(k)];
}

int64_t Tensor::rows() const { return columns() == 0 ? 0 : numel_ / columns(); }

Device Tensor::device() const {
  CHECK(storage_, "an undefined tensor has no device");
  return storage_->device;
}

void* Tensor::raw() const { return storage_ ? static_cast<char*>(storage_->data) + offset_ : nullptr; }

void Tensor::wrong_type(DType wanted) const { fail(Exit::failed, "tensor ", *this, " read as ", name_of(wanted)); }

Tensor Tensor::view(Shape shape) const {
  int64_t known = 1, open = -1;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] == -1) open = int64_t(i);
    else known *= shape[i];
  if (open >= 0 && known > 0) shape[size_t(open)] = numel_ / known;
  CHECK(vlm2vec::numel(shape) == numel_, "view: ", *this, " has ", numel_, " elements, ", to_string(shape),
        " has another number");
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  CHECK(0 <= begin && begin <= end && end <= dim(0), "rows: ", begin, " to ", end, " of ", *this);
  Tensor t = *this;
  const int64_t row = dim(0) ? numel_ / dim(0) : 0;
  t.shape_[0] = end - begin;
  t.numel_ = (end - begin) * row;
  t.offset_ += begin * row * size_of(dtype_);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (!storage_ || device == this->device()) return *this;
  Tensor t(shape_, dtype_, device);
  copy_bytes(*this, t);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (!storage_ || dtype == dtype_) return *this;
  CHECK(is_float(dtype) && is_float(dtype_), "to: no conversion from ", name_of(dtype_), " to ", name_of(dtype));
  Tensor t(shape_, dtype, device());
  kernel::cast(*this, t);
  return t;
}

void Tensor::move_together(const std::vector<Tensor*>& tensors, Device device) {
  if (tensors.empty() || tensors[0]->device() == device) return;
  constexpr int64_t alignment = 64;
  std::vector<int64_t> ends{0};
  for (const Tensor* x : tensors) ends.push_back(ends.back() + (x->bytes() + alignment - 1) / alignment * alignment);
  const Tensor from({ends.back()}, DType::u8, tensors[0]->device()), to({ends.back()}, DType::u8, device);
  for (size_t i = 0; i < tensors.size(); ++i)
    copy_bytes(*tensors[i], from.rows(ends[i], ends[i] + tensors[i]->bytes()));
  copy_bytes(from, to);
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i]->storage_ = to.storage_, tensors[i]->offset_ = ends[i];
}

Tensor Tensor::clone() const {
  Tensor t(shape_, dtype_, device());
  copy_bytes(*this, t);
  return t;
}

void copy_bytes(const Tensor& from, const Tensor& to) {
  copy_memory(to.raw(), to.device(), from.raw(), from.device(), from.bytes());
}

Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }

Tensor zeros(Shape shape, DType dtype, Device device) {
  Tensor t(std::move(shape), dtype, device);
  clear_memory(t.raw(), device, t.bytes());  // 0 is all bits zero in every type
  return t;
}

Tensor full(Shape shape, double value, DType dtype, Device device) {
  Tensor t(std::move(shape), dtype, device);
  kernel::fill(t, value);
  return t;
}

template <class T>
Tensor from_vector(const std::vector<T>& values, Shape shape, Device device) {
  Tensor t(std::move(shape), dtype_of<T>, device);
  CHECK(int64_t(values.size()) == t.numel(), "from_vector: ", values.size(), " values for ", t);
  if (device == Device::cpu) std::copy(values.begin(), values.end(), t.data<T>());  // in a dry run, too
  else copy_memory(t.raw(), device, values.data(), Device::cpu, t.bytes());
  return t;
}
template Tensor from_vector(const std::vector<float>&, Shape, Device);
template Tensor from_vector(const std::vector<double>&, Shape, Device);
template Tensor from_vector(const std::vector<int32_t>&, Shape, Device);
template Tensor from_vector(const std::vector<int64_t>&, Shape, Device);

template <class T>
std::vector<T> to_vector(const Tensor& x) {
  const Tensor host = x.to(Device::cpu);
  std::vector<T> values(size_t(x.numel()));
  auto copy = [&]<class S>() { std::copy_n(host.data<S>(), values.size(), values.begin()); };
  switch (x.dtype()) {
    case DType::i32:
      copy.template operator()<int32_t>();
      break;
    case DType::i64:
      copy.template operator()<int64_t>();
      break;
    default:
      dispatch_stored(x.dtype(), copy);
  }
  return values;
}
template std::vector<float> to_vector(const Tensor&);
template std::vector<double> to_vector(const Tensor&);
template std::vector<int32_t> to_vector(const Tensor&);
template std::vector<int64_t> to_vector(const Tensor&);

double item(const Tensor& x) {
  CHECK(x.numel() == 1, "item: ", x, " has ", x.numel(), " elements, expected one");
  return to_vector<double>(x)[0];
}

}  // namespace vlm2vec
