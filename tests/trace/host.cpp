// What tensors want of src/tensor/ops.cpp and src/tensor/cpu, without the fast paths of the CPU: kernels do it all.
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec {

bool is_dry_run() { return false; }
void check_device(const Tensor&, const Tensor&) {}
Backend backend_of(const Tensor&) { return Backend::emu; }

namespace cpu {
void cast(const Tensor& x, const Tensor& y) { emu::cast(x, y); }
void fill(const Tensor& y, double value) { emu::fill(y, value); }
}  // namespace cpu

}  // namespace vlm2vec
