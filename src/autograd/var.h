// Numbers with a history. An op computes its value and records how gradients flow back: one formula per input, next to
// the forward (ops.cpp). The backward pass keeps the tensors that a formula captures, and no others.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace vlm2vec {

using Vjp = std::function<Tensor(const Tensor& dy)>;                      // dy ↦ dx
using AddVjp = std::function<Tensor(const Tensor& dy, const Tensor& before)>;  // (dy, dx so far or none) ↦ dx
using LeafVjp = std::function<void(const Tensor& dy, const Tensor& dw)>;  // dw += …: products with beta 1, scatter-adds
// One formula for all gradients. Gets one defined dy per output; returns one gradient per input, possibly undefined if
// not needed.
using JointVjp = std::function<std::vector<Tensor>(const std::vector<Tensor>& dys, const std::vector<bool>& needs)>;

struct Node;

class Var {
 public:
  Var() = default;
  Var(Tensor value) : value_(std::move(value)) {}  // a constant
  // Makes a variable that gets gradients. They are added into `gradient` (a parameter's slice of the flat buffer), by
  // default into a new tensor.
  static Var leaf(Tensor value, Tensor gradient = {});

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  bool requires_grad() const { return node_ != nullptr; }
  Tensor grad() const;  // must be a leaf; undefined if no gradient has reached it
  Var detach() const { return Var(value_); }
  // Adds d(this · seed)/d(leaf) to every leaf's gradient and frees the tape on the way. The default seed is ones.
  void backward(const Tensor& seed = {}) const;

 private:
  friend struct Node;
  friend struct Input;
  friend std::vector<Var> record(const char*, std::vector<Tensor>, const std::vector<Var>&, JointVjp, bool);
  friend Var record(const char*, Tensor, std::initializer_list<struct Input>);
  Tensor value_;
  std::shared_ptr<Node> node_;
  int output_ = 0;
};

// An input of an op with its formula.
struct Input {
  Input(const Var& x, Vjp vjp) : x(x), vjp(std::move(vjp)) {}
  Input(const Var& x, AddVjp vjp) : x(x), add_vjp(std::move(vjp)) {}
  Input(const Var& x, LeafVjp vjp) : x(x), leaf_vjp(std::move(vjp)) {}
  const Var& x;
  Vjp vjp;
  AddVjp add_vjp;
  LeafVjp leaf_vjp;
};

// Records an op on the tape. It keeps an edge only if the input needs a gradient; a dropped edge frees the tensors that
// its formula captured. A frozen weight thus costs neither a gradient nor the activation for it.
Var record(const char* op, Tensor y, std::initializer_list<Input> inputs);
// `always` records even if no input needs a gradient (for checkpoint: a parameter inside may need one).
std::vector<Var> record(const char* op, std::vector<Tensor> ys, const std::vector<Var>& xs, JointVjp vjp,
                        bool always = false);

// While a NoGrad exists, this thread records nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;

 private:
  bool before_;
};
int64_t live_nodes();  // number of tape steps in memory

// Returns f(x) without keeping its activations; the backward pass computes f again (Chen et al. 2016). Nothing is
// recorded if neither x nor a parameter inside f needs a gradient.
Var checkpoint(const std::function<Var(const Var&)>& f, const Var& x);

}  // namespace vlm2vec
